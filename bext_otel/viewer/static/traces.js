// The list of traces.

import { alone, ask, choice, el, search, text, tick } from "/static/dom.js";
import { clock, colour, duration, statusClass } from "/static/format.js";

const COLUMNS = ["Time", "App", "Request", "Status", "Duration", "Spans"];

export function tracesPage(filter) {
  const change = (name) => (value) => {
    filter[name] = value;
    refresh();
  };
  const apps = el("span");
  const total = el("span", { class: "dim" });
  const body = el("tbody");
  const empty = el("p", { class: "empty", hidden: true });
  let known = null;
  let turn = 0;

  async function refresh() {
    const mine = (turn += 1);
    const { q, app, errors, min_ms } = filter;
    const found = await ask("/api/traces", { q, app, errors: errors ? 1 : "", min_ms });
    if (mine !== turn) return;
    if (known !== found.apps.join()) {
      known = found.apps.join();
      apps.replaceChildren(choice("App", [["", "All apps"], ...found.apps.map((name) => [name, name])], app ?? "", change("app")));
    }
    const longest = Math.max(...found.traces.map((trace) => trace.duration_ms), 1e-9);
    body.replaceChildren(...found.traces.map((trace) => alone(() => row(trace, longest, found.apps.indexOf(trace.app)), (why) => hidden(trace, why))));
    total.textContent = `${found.traces.length} of ${found.total}`;
    empty.hidden = found.traces.length > 0;
    empty.replaceChildren(...(found.total ? ["No trace matches."] : waiting()));
  }

  const slow = [["", "Any duration"], ["10", "≥ 10 ms"], ["50", "≥ 50 ms"], ["100", "≥ 100 ms"], ["500", "≥ 500 ms"], ["1000", "≥ 1 s"]];
  const bar = el(
    "div",
    { class: "toolbar" },
    search("Find by name, route, service, status or id", filter.q ?? "", change("q")),
    apps,
    choice("Duration", slow, filter.min_ms ?? "", change("min_ms")),
    tick("Errors only", Boolean(filter.errors), change("errors")),
    total,
  );
  const head = el("thead", {}, el("tr", {}, COLUMNS.map((name) => el("th", { scope: "col" }, name))));
  return { node: el("section", {}, bar, el("table", { class: "list traces" }, head, body), empty), refresh };
}

function row(trace, longest, index) {
  const href = `#/traces/${trace.trace_id}`;
  // Logarithmic: one slow trace would make all others look alike.
  const share = `${Math.max((Math.log1p(trace.duration_ms * 10) / Math.log1p(longest * 10)) * 100, 1)}%`;
  const request = trace.route && !trace.name.includes(trace.route) ? el("span", { class: "dim" }, ` ${trace.route}`) : null;
  const open = (event) => {
    if (!event.target.closest("a")) location.hash = href;
  };
  return el(
    "tr",
    { class: trace.error ? "failed" : "", on: { click: open } },
    el("td", { class: "time" }, clock(trace.start_unix_ms)),
    el("td", {}, trace.app ? el("span", { class: "app", css: { "--dot": colour(index) } }, trace.app) : el("span", { class: "dim" }, "–")),
    el("td", { class: "name" }, el("a", { href }, trace.name || "(no name)"), request),
    el("td", {}, status(trace)),
    el("td", { class: "took" }, el("span", { class: "meter", css: { "--share": share } }), duration(trace.duration_ms)),
    el("td", { class: "number" }, String(trace.span_count)),
  );
}

const hidden = (trace, why) => el("tr", {}, el("td", { colspan: COLUMNS.length, class: "dim" }, el("a", { href: `#/traces/${trace.trace_id}` }, text(trace.trace_id)), ` ${why}`));

export function status(trace) {
  if (trace.status !== null) return el("span", { class: `badge ${statusClass(trace.status)}` }, String(trace.status));
  return trace.error ? el("span", { class: "badge bad" }, "error") : el("span", { class: "dim" }, "–");
}

const waiting = () => ["Nothing has come yet. Send OTLP over HTTP here: ", el("code", {}, `OTEL_EXPORTER_OTLP_ENDPOINT=${location.origin}`)];
