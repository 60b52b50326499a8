// Metrics, a chart each. A chart asks for its points only while it can be seen.

import { chart } from "/static/chart.js";
import { alone, ask, choice, el, search } from "/static/dom.js";
import { bytes, colour, count, duration, reader } from "/static/format.js";

const SPANS = [["60", "Last minute"], ["300", "Last 5 minutes"], ["900", "Last 15 minutes"], ["0", "Everything held"]];
const FEW = { counter: 6, gauge: 6, distribution: 4 };
const MANY = 30;

export function metricsPage(filter) {
  const cards = new Map();
  const grid = el("div", { class: "grid" });
  const total = el("span", { class: "dim" });
  const empty = el("p", { class: "empty", hidden: true }, "No metric has come yet: they are exported once in an interval.");
  const watch = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      const card = cards.get(entry.target.dataset.name);
      if (card) card.visible = entry.isIntersecting;
      if (card?.visible) card.refresh(filter);
    }
  }, { rootMargin: "200px" });

  async function refresh() {
    const { metrics } = await ask("/api/metrics");
    for (const metric of metrics) if (!cards.has(metric.name)) cards.set(metric.name, metricCard(metric));
    const held = new Set(metrics.map((metric) => metric.name));
    for (const name of [...cards.keys()]) if (!held.has(name)) cards.delete(name);
    arrange();
    await Promise.all([...cards.values()].filter((card) => card.visible && card.node.isConnected).map((card) => card.refresh(filter)));
  }

  function arrange() {
    const wanted = (filter.q ?? "").toLowerCase();
    const names = [...cards.keys()].filter((name) => name.toLowerCase().includes(wanted)).sort(ours);
    const nodes = names.map((name) => cards.get(name).node);
    if (nodes.length !== grid.childElementCount || nodes.some((node, index) => node !== grid.children[index])) {
      grid.replaceChildren(...nodes);
      watch.disconnect();
      nodes.forEach((node) => watch.observe(node));
    }
    total.textContent = `${names.length} of ${cards.size}`;
    empty.hidden = cards.size > 0;
  }

  const find = (value) => {
    filter.q = value;
    arrange();
  };
  const zoom = (value) => {
    filter.seconds = value;
    refresh();
  };
  filter.seconds ??= "300";
  const bar = el("div", { class: "toolbar" }, search("Find by name", filter.q ?? "", find), choice("Time", SPANS, filter.seconds, zoom), total);
  return { node: el("section", {}, bar, grid, empty), refresh, close: () => watch.disconnect() };
}

// The platform's own names first.
const ours = (left, right) => Number(right.startsWith("bext_")) - Number(left.startsWith("bext_")) || left.localeCompare(right);

function metricCard(metric) {
  const plot = el("div", { class: "plot" });
  const legend = el("ul", { class: "legend" });
  const shared = el("p", { class: "dim shared" });
  const more = el("button", { type: "button", class: "link", hidden: true });
  const node = el(
    "article",
    { class: "card", "data-name": metric.name },
    el("h2", {}, metric.name, el("span", { class: "kind" }, KIND[metric.kind])),
    el("p", { class: "dim" }, metric.description || " "),
    plot,
    shared,
    legend,
    more,
  );
  const card = { node, visible: false, refresh };
  const hidden = new Set();
  const few = FEW[metric.kind];
  let limit = few;

  async function refresh(filter) {
    // Somebody is reading values off the chart.
    if (plot.matches(":hover") && plot.childElementCount) return;
    const found = await ask(`/api/metrics/${encodeURIComponent(metric.name)}`, { series: limit });
    if (!found) return;
    show(found, Number(filter.seconds));
    more.hidden = found.series_count <= few;
    more.textContent = limit === few ? `${found.series_count - few} more series` : "fewer series";
    more.onclick = () => {
      limit = limit === few ? MANY : few;
      refresh(filter);
    };
  }

  const show = (found, seconds) => alone(() => draw(found, seconds), (why) => plot.replaceChildren(el("p", { class: "empty small" }, `This metric ${why}.`)));

  function draw(found, seconds) {
    const read = reader(found);
    const lines = found.series.flatMap((series, index) => (hidden.has(label(series)) ? [] : linesOf(found, series, index)));
    const perSecond = found.kind === "counter";
    const y = (value) => (perSecond ? `${read(value)}/s` : read(value));
    plot.replaceChildren(chart(lines, { seconds, read: y, binary: read === bytes }));
    const same = sharedLabels(found.series);
    shared.textContent = Object.entries(same).map(([key, value]) => `${key}=${value}`).join(" ");
    legend.replaceChildren(
      ...found.series.map((series, index) => {
        const name = label(series);
        const turn = () => {
          if (!hidden.delete(name)) hidden.add(name);
          show(found, seconds);
        };
        const key = el("button", { type: "button", class: "key", "aria-pressed": String(!hidden.has(name)), on: { click: turn }, title: name, css: { "--dot": colour(index) } }, pairs(series, same));
        return el("li", {}, key, el("span", { class: "now" }, latest(found, series, read)));
      }),
    );
  }
  return card;
}

const KIND = { counter: "counter, per second", gauge: "gauge", distribution: "p50 — p99 ┄" };

const label = (series) => Object.entries(series.labels).map(([key, value]) => `${key}=${value}`).join(" ") || "(no labels)";

// Labels that all of several series have in common: said once, so that those which differ have room.
function sharedLabels(all) {
  if (all.length < 2) return {};
  const [first, ...others] = all.map((series) => series.labels);
  return Object.fromEntries(Object.entries(first).filter(([key, value]) => others.every((labels) => labels[key] === value)));
}

function pairs(series, same) {
  const own = Object.entries(series.labels).filter(([key]) => !(key in same));
  return own.length ? own.map(([key, value]) => [el("i", {}, `${key}=`), `${value} `]) : "(no labels)";
}

function linesOf(found, series, index) {
  const column = (name) => series.values[found.columns.indexOf(name)] ?? [];
  const line = (name, dashed) => ({ name: `${label(series)}${found.kind === "distribution" ? ` ${name}` : ""}`, times: series.times, values: column(name), colour: colour(index), dashed });
  if (found.kind === "counter") return [line("rate", false)];
  if (found.kind === "gauge") return [line("value", false)];
  return [line("p50", false), line("p99", true)];
}

function latest(found, series, read) {
  if (found.kind === "counter") return `${read(series.total)} in all`;
  if (found.kind === "gauge") return read(series.total);
  return series.total ? `mean ${read(series.sum / series.total)}, n ${count(series.total)}` : duration(null);
}
