// A line chart in SVG with a time axis and a pointer that reads values.

import { el, svg } from "/static/dom.js";
import { clock, steps } from "/static/format.js";

const WIDTH = 520;
const HEIGHT = 170;
const LEFT = 62;
const RIGHT = 10;
const TOP = 8;
const BOTTOM = 20;

// `lines`: {name, times (Unix ms, ascending), values (null for a gap), colour, dashed}. `seconds`: how far back, 0 for all. `binary`: bytes.
export function chart(lines, { seconds, read, binary }) {
  const present = lines.filter((line) => line.values.some((value) => value !== null));
  const ends = present.map((line) => line.times[line.times.length - 1]);
  if (!ends.length) return el("p", { class: "empty small" }, "No value yet.");
  const last = Math.max(...ends);
  const oldest = Math.min(...present.map((line) => line.times[0]));
  const first = Math.min(seconds ? Math.max(last - seconds * 1e3, oldest) : oldest, last - 1e3);
  const cut = present.map((line) => within(line, first));
  const all = cut.flatMap((line) => line.values.filter((value) => value !== null));
  const top = Math.max(...all, 0) || 1;
  const bottom = Math.min(...all, 0);
  const x = (time) => LEFT + ((time - first) / (last - first)) * (WIDTH - LEFT - RIGHT);
  const y = (value) => HEIGHT - BOTTOM - (share(value, bottom, top) / 1.05) * (HEIGHT - TOP - BOTTOM);
  const picture = svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": cut.map((line) => line.name).join(", ") });
  picture.append(...grid(bottom, top, first, last, x, y, read, binary), ...cut.flatMap((line) => draw(line, x, y)));
  return el("div", { class: "chart" }, picture, pointer(picture, cut, x, y, read));
}

// Where a value lies between two others, 0 to 1; what is between the largest doubles is more than a double can say.
function share(value, bottom, top) {
  const range = top - bottom;
  return Number.isFinite(range) ? (value - bottom) / range : (value / 2 - bottom / 2) / (top / 2 - bottom / 2);
}

function within(line, first) {
  const from = line.times.findIndex((time) => time >= first);
  return { ...line, times: line.times.slice(Math.max(from, 0)), values: line.values.slice(Math.max(from, 0)) };
}

function grid(bottom, top, first, last, x, y, read, binary) {
  const heights = bottom < 0 ? [bottom, 0, top] : steps(top, 3, binary);
  const across = heights.map((value) => [
    svg("line", { class: "rule", x1: LEFT, x2: WIDTH - RIGHT, y1: y(value), y2: y(value) }),
    svg("text", { class: "tick", x: LEFT - 6, y: y(value) + 3.5, "text-anchor": "end" }, read(value)),
  ]);
  const times = [first, (first + last) / 2, last];
  const anchors = ["start", "middle", "end"];
  return [...across.flat(), ...times.map((time, index) => svg("text", { class: "tick", x: x(time), y: HEIGHT - 5, "text-anchor": anchors[index] }, clock(time, false)))];
}

// A path for each run of values, and a dot for a value that stands alone.
function draw(line, x, y) {
  const runs = [];
  let run = [];
  line.values.forEach((value, index) => {
    if (value === null) {
      if (run.length) runs.push(run);
      run = [];
    } else run.push([x(line.times[index]), y(value)]);
  });
  if (run.length) runs.push(run);
  return runs.map((points) =>
    points.length === 1
      ? svg("circle", { class: "dot", cx: points[0][0], cy: points[0][1], r: 2.2, fill: line.colour })
      : svg("path", { class: line.dashed ? "stroke dashed" : "stroke", d: `M${points.map(([px, py]) => `${px.toFixed(1)} ${py.toFixed(1)}`).join("L")}`, stroke: line.colour }),
  );
}

function pointer(picture, lines, x, y, read) {
  const tip = el("div", { class: "tip", hidden: true });
  const rule = svg("line", { class: "pointer", y1: TOP, y2: HEIGHT - BOTTOM, visibility: "hidden" });
  picture.append(rule);
  const times = [...new Set(lines.flatMap((line) => line.times))];
  picture.addEventListener("pointermove", (event) => {
    const box = picture.getBoundingClientRect();
    const at = ((event.clientX - box.left) / box.width) * WIDTH;
    const near = times.reduce((best, time) => (Math.abs(x(time) - at) < Math.abs(x(best) - at) ? time : best), times[0]);
    const rows = lines
      .map((line) => [line, line.values[line.times.indexOf(near)] ?? null])
      .filter(([, value]) => value !== null)
      .sort((one, other) => other[1] - one[1])
      .slice(0, 12);
    rule.setAttribute("x1", x(near));
    rule.setAttribute("x2", x(near));
    rule.setAttribute("visibility", "visible");
    tip.hidden = false;
    tip.classList.toggle("left", at > WIDTH / 2);
    tip.style.setProperty("--at", `${(x(near) / WIDTH) * 100}%`);
    tip.replaceChildren(
      el("b", {}, clock(near, false)),
      ...rows.map(([line, value]) => el("div", { css: { "--dot": line.colour } }, el("span", { class: "key" }, line.name), el("span", {}, read(value)))),
    );
  });
  picture.addEventListener("pointerleave", () => {
    tip.hidden = true;
    rule.setAttribute("visibility", "hidden");
  });
  return tip;
}
