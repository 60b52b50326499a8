// Log lines.

import { alone, ask, choice, el, search, table, text } from "/static/dom.js";
import { clock, levelClass } from "/static/format.js";

const LEVELS = [["", "All levels"], ["debug", "debug and up"], ["info", "info and up"], ["warn", "warn and up"], ["error", "error and up"]];

export function logsPage(filter) {
  const change = (name) => (value) => {
    filter[name] = value;
    refresh();
  };
  const list = el("div", { class: "lines" });
  const total = el("span", { class: "dim" });
  const open = new Set();
  let turn = 0;

  async function refresh() {
    const mine = (turn += 1);
    const found = await ask("/api/logs", { level: filter.level, q: filter.q, trace: filter.trace });
    if (mine !== turn) return;
    list.replaceChildren(...found.logs.map((entry) => line(entry, open, { linked: true })));
    if (!found.logs.length) list.append(el("p", { class: "empty" }, found.total ? "No line matches." : "No log line has come yet."));
    total.textContent = `${found.logs.length} of ${found.total}`;
  }

  const bar = el(
    "div",
    { class: "toolbar" },
    search("Find in message, target and attributes", filter.q ?? "", change("q")),
    choice("Level", LEVELS, filter.level ?? "", change("level")),
    search("Trace id", filter.trace ?? "", change("trace")),
    total,
  );
  return { node: el("section", {}, bar, list), refresh };
}

// One line; `open` holds the numbers of those that show all their attributes.
export const line = (entry, open, options) => alone(() => drawn(entry, open, options), (why) => el("div", { class: "line dim" }, `A line that ${why}.`));

function drawn(entry, open, { linked }) {
  const more = el("div", { class: "more", hidden: !open.has(entry.number) });
  const show = () => {
    if (!more.hidden && !more.childElementCount) more.append(...[table(facts(entry))].filter(Boolean));
  };
  const turn = (event) => {
    if (event.target.closest("a") || window.getSelection().toString()) return;
    more.hidden = !more.hidden;
    if (more.hidden) open.delete(entry.number);
    else open.add(entry.number);
    show();
  };
  show();
  const extra = Object.entries(entry.attributes).slice(0, 8);
  return el(
    "div",
    { class: `line ${levelClass(entry.level)}` },
    el(
      "div",
      { class: "summary", on: { click: turn } },
      el("span", { class: "time" }, clock(entry.time_unix_ms)),
      el("span", { class: `badge ${levelClass(entry.level)}` }, entry.level || "–"),
      el("span", { class: "target" }, entry.target),
      el("span", { class: "message" }, text(entry.message), extra.map(([key, value]) => [" ", el("span", { class: "pair" }, el("i", {}, `${key}=`), text(value))])),
      linked && entry.trace_id ? el("a", { href: `#/traces/${entry.trace_id}?span=${entry.span_id}`, title: entry.trace_id }, "trace") : null,
    ),
    more,
  );
}

const facts = (entry) => ({
  ...entry.attributes,
  target: entry.target,
  service: entry.service,
  ...(entry.omitted ? { "left out": `${entry.omitted} more` } : {}),
  ...(entry.trace_id ? { trace_id: entry.trace_id, span_id: entry.span_id } : {}),
});
