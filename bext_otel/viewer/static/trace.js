// One trace as a waterfall, with its log lines.

import { alone, ask, el, table, text } from "/static/dom.js";
import { clock, colour, duration, steps } from "/static/format.js";
import { line } from "/static/logs.js";
import { status } from "/static/traces.js";

export function tracePage(id, chosen = null) {
  const node = el("section", { class: "trace" }, el("p", { class: "empty" }, "Loading…"));
  const state = { chosen, folded: new Set(), open: new Set() };
  let seen = "";

  async function refresh() {
    const trace = await ask(`/api/traces/${encodeURIComponent(id)}`);
    if (!trace) {
      node.replaceChildren(el("p", { class: "empty" }, "This trace is not here: it has not come yet, or newer ones took its place. ", back()));
      return;
    }
    const now = `${trace.span_count} ${trace.logs.length} ${trace.duration_ms}`;
    if (now === seen) return;
    seen = now;
    draw(trace);
  }

  function draw(trace) {
    const again = () => draw(trace);
    node.replaceChildren(heading(trace), el("div", { class: "split" }, waterfall(trace, state, again), alone(() => details(trace, state, again), (why) => el("aside", { class: "details dim" }, `This span ${why}.`))), lines(trace, state));
  }
  return { node, refresh };
}

const back = () => el("a", { href: "#/traces" }, "All traces");

function heading(trace) {
  const facts = [
    trace.app && ["app", trace.app],
    trace.route && ["route", trace.route],
    ["duration", duration(trace.duration_ms)],
    ["spans", trace.span_count],
    ["started", clock(trace.start_unix_ms)],
    ["service", trace.services.join(", ")],
    ["trace", trace.trace_id],
  ].filter(Boolean);
  return el(
    "div",
    { class: "heading" },
    el("p", { class: "crumb" }, back()),
    el("h1", {}, trace.name || "(no name)", " ", status(trace)),
    el("dl", {}, facts.map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, String(value))))),
  );
}

function waterfall(trace, state, again) {
  const total = Math.max(trace.duration_ms, 1e-6);
  const names = [...new Set(trace.spans.map((span) => span.name))];
  const rows = [];
  let hiddenBelow = Infinity;
  trace.spans.forEach((span, index) => {
    if (span.depth > hiddenBelow) return;
    hiddenBelow = state.folded.has(span.span_id) ? span.depth : Infinity;
    const parent = trace.spans[index + 1]?.depth > span.depth;
    const fill = colour(names.indexOf(span.name));
    rows.push(alone(() => spanRow(span, parent, total, fill, state, again), (why) => el("div", { class: "span dim" }, `A span that ${why}.`)));
  });
  const marks = steps(total, 6).map((at) => el("span", { css: { left: `${(at / total) * 100}%` } }, duration(at)));
  return el("div", { class: "waterfall" }, el("div", { class: "axis" }, el("span"), el("div", {}, marks)), rows);
}

function spanRow(span, parent, total, fill, state, again) {
  const left = (span.offset_ms / total) * 100;
  const width = (span.duration_ms / total) * 100;
  const choose = () => {
    state.chosen = state.chosen === span.span_id ? null : span.span_id;
    again();
  };
  const fold = (event) => {
    event.stopPropagation();
    if (!state.folded.delete(span.span_id)) state.folded.add(span.span_id);
    again();
  };
  const folded = state.folded.has(span.span_id);
  const caret = parent
    ? el("button", { class: "caret", type: "button", "aria-expanded": String(!folded), "aria-label": "Fold", on: { click: fold } }, folded ? "▸" : "▾")
    : el("span", { class: "caret" });
  const events = span.events.map((event) =>
    el("i", { class: event.name === "exception" ? "event bad" : "event", title: event.name, css: { left: `${clamp((event.offset_ms / total) * 100)}%` } }),
  );
  return el(
    "div",
    { class: `span ${span.status === "error" ? "failed" : ""} ${state.chosen === span.span_id ? "chosen" : ""}`, on: { click: choose } },
    el(
      "div",
      { class: "label", css: { "--depth": String(Math.min(span.depth, 24)) } },
      caret,
      el("button", { type: "button", class: "link", title: `${span.name} (${span.kind})` }, span.name || "(no name)", " ", el("span", { class: "dim" }, hint(span))),
    ),
    el(
      "div",
      { class: "lane" },
      el("div", { class: "bar", css: { left: `${clamp(left)}%`, width: `${Math.min(width, 100)}%`, "--fill": fill } }),
      events,
      el("span", { class: "took", css: { "--edge": `${clamp(left + width)}%` } }, duration(span.duration_ms)),
    ),
  );
}

// What tells spans of one name apart: where a call went, what was asked of a database, which plugin it was.
function hint({ name, kind, attributes }) {
  const url = kind === "client" ? attributes["url.full"] ?? attributes["http.url"] : null;
  if (url) return String(url).replace(/^[a-z]+:\/\/[^/]*/i, "");
  const query = attributes["db.query.text"] ?? attributes["db.statement"];
  if (query) return String(query).startsWith(name) ? String(query).slice(name.length).trim() : String(query);
  const labels = Object.entries(attributes).filter(([key]) => key.startsWith("bext.") && key !== "bext.app");
  return labels.map(([, value]) => text(value)).join(" ");
}

function details(trace, state, again) {
  const span = trace.spans.find((one) => one.span_id === state.chosen);
  if (!span) return el("aside", { class: "details hint" }, el("p", { class: "dim" }, "Choose a span to see its attributes and events."));
  const close = () => {
    state.chosen = null;
    again();
  };
  const own = trace.logs.filter((entry) => entry.span_id === span.span_id);
  return el(
    "aside",
    { class: "details" },
    el("button", { class: "close", type: "button", "aria-label": "Close", on: { click: close } }, "×"),
    el("h2", {}, span.name),
    span.status === "error" ? el("p", { class: "problem" }, span.status_message || "failed") : null,
    table({
      kind: span.kind,
      duration: duration(span.duration_ms),
      "starts at": duration(span.offset_ms),
      ...(span.service ? { service: span.service } : {}),
      scope: span.scope,
      span: span.span_id,
      ...(span.parent_id ? { parent: span.parent_id } : {}),
    }),
    el("h3", {}, "Attributes"),
    table(span.attributes) ?? el("p", { class: "dim" }, "none"),
    span.omitted ? el("p", { class: "dim" }, `${span.omitted} more attributes, events, links or texts were too much to keep.`) : null,
    span.events.length ? el("h3", {}, "Events") : null,
    span.events.map((event) => el("div", { class: "event-block" }, el("p", {}, el("b", {}, event.name), ` at ${duration(event.offset_ms)}`), table(event.attributes))),
    span.links.length ? el("h3", {}, "Links") : null,
    span.links.map((link) => el("p", {}, el("a", { href: `#/traces/${link.trace_id}` }, link.trace_id), table(link.attributes))),
    own.length ? el("h3", {}, "Log lines") : null,
    own.map((entry) => el("p", { class: "mini" }, el("b", {}, entry.level), " ", text(entry.message))),
  );
}

function lines(trace, state) {
  const head = el("h2", {}, `Log lines (${trace.logs.length})`);
  if (!trace.logs.length) return el("div", { class: "trace-logs" }, head, el("p", { class: "dim" }, "None with this trace's id."));
  return el("div", { class: "trace-logs" }, head, el("div", { class: "lines" }, trace.logs.map((entry) => line(entry, state.open, { linked: false }))));
}

const clamp = (share) => Math.min(Math.max(share, 0), 99.8);
