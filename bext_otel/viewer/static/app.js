// The frame: which page is shown, and when it looks again.

import { ask } from "/static/dom.js";
import { count } from "/static/format.js";
import { logsPage } from "/static/logs.js";
import { metricsPage } from "/static/metrics.js";
import { tracePage } from "/static/trace.js";
import { tracesPage } from "/static/traces.js";

const EVERY_MS = 1500;
const byId = (id) => document.getElementById(id);

let page = null;
let shown = -1;
let live = true;
let filters = {};

// What a page offers: `node`, `refresh()` (asked when something new came), and `close()` if it has something to undo.
function build(hash) {
  const [path, query = ""] = hash.replace(/^#\/?/, "").split("?");
  const [tab, id] = path.split("/").map(decoded);
  const given = Object.fromEntries(new URLSearchParams(query));
  if (tab === "traces" && id) return ["traces", tracePage(id, given.span)];
  filters[tab] = { ...filters[tab], ...given };
  if (tab === "logs") return ["logs", logsPage(filters.logs)];
  if (tab === "metrics") return ["metrics", metricsPage(filters.metrics)];
  return ["traces", tracesPage((filters.traces ??= {}))];
}

// An address may hold anything; what can't be decoded stands for itself.
function decoded(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

function open() {
  page?.close?.();
  const [tab, next] = build(location.hash);
  page = next;
  for (const link of document.querySelectorAll("nav a")) {
    if (link.dataset.tab === tab) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  byId("page").replaceChildren(page.node);
  window.scrollTo(0, 0);
  refresh();
}

async function refresh() {
  const asked = page;
  try {
    await asked.refresh();
    notice("");
  } catch (problem) {
    if (asked === page) notice(`The viewer does not answer (${problem.message}). It was probably stopped; what was read stays here.`);
  }
}

async function look() {
  if (live && !document.hidden) {
    try {
      const summary = await ask("/api/summary");
      frame(summary);
      if (summary.version !== shown) {
        shown = summary.version;
        await refresh();
      } else notice("");
    } catch (problem) {
      notice(`The viewer does not answer (${problem.message}). It was probably stopped; what was read stays here.`);
    }
  }
  setTimeout(look, EVERY_MS);
}

function frame({ held, dropped, refused, services, limits }) {
  byId("count-traces").textContent = count(held.traces);
  byId("count-logs").textContent = count(held.logs);
  byId("count-metrics").textContent = count(held.metrics);
  byId("services").textContent = services.slice(0, 3).join(", ") + (services.length > 3 ? ` and ${services.length - 3} more` : "");
  const gone = Object.entries({ ...dropped, "refused bodies": refused.bodies, "refused items": refused.items }).filter(([, n]) => n);
  byId("dropped").hidden = !gone.length;
  byId("dropped").textContent = `dropped: ${gone.map(([what, n]) => `${count(n)} ${what}`).join(", ")}`;
  byId("dropped").title = `The newest are kept: ${Object.entries(limits).map(([what, n]) => `${n} ${what}`).join(", ")}.`;
}

function notice(words) {
  byId("notice").hidden = !words;
  byId("notice").textContent = words;
}

byId("live").addEventListener("click", (event) => {
  live = !live;
  event.currentTarget.setAttribute("aria-pressed", String(live));
  event.currentTarget.querySelector("span").textContent = live ? "Live" : "Paused";
});
window.addEventListener("hashchange", open);
open();
look();
