// Building pages. Telemetry is somebody else's text: it only ever becomes a text node or an attribute's value, never markup.

const SVG = "http://www.w3.org/2000/svg";

function fill(node, properties, children) {
  for (const [name, value] of Object.entries(properties)) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "on") for (const [event, act] of Object.entries(value)) node.addEventListener(event, act);
    else if (name === "set") Object.assign(node, value);
    else if (name === "css") for (const [key, setting] of Object.entries(value)) node.style.setProperty(key, setting);
    else node.setAttribute(name, value === true ? "" : String(value));
  }
  node.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}

export const el = (tag, properties = {}, ...children) => fill(document.createElement(tag), properties, children);
export const svg = (tag, properties = {}, ...children) => fill(document.createElementNS(SVG, tag), properties, children);

// A search field, a choice or a tick box that calls back with its value.
export function search(label, value, change) {
  const act = (event) => change(event.target.value.trim());
  return el("input", { type: "search", placeholder: label, "aria-label": label, set: { value }, on: { input: act } });
}

export function choice(label, options, value, change) {
  const items = options.map(([key, text]) => el("option", { value: key, set: { selected: key === value } }, text));
  return el("select", { "aria-label": label, on: { change: (event) => change(event.target.value) } }, items);
}

export function tick(label, value, change) {
  const box = el("input", { type: "checkbox", set: { checked: value }, on: { change: (event) => change(event.target.checked) } });
  return el("label", { class: "tick" }, box, label);
}

// Attributes as a table; nested values as JSON.
export function table(values) {
  const rows = Object.entries(values).map(([key, value]) => el("tr", {}, el("th", { scope: "row" }, key), el("td", {}, text(value))));
  return rows.length ? el("table", { class: "facts" }, el("tbody", {}, rows)) : null;
}

// What is shown of one thing among many, or else `instead(why)`: one that can't be shown must not take the others along.
export function alone(make, instead) {
  try {
    return make();
  } catch (problem) {
    return instead(`can't be shown (${problem.message})`);
  }
}

export const text = (value) => (typeof value === "string" ? value : JSON.stringify(value));

// The answer of an address of the API as an object; null if there is nothing there.
export async function ask(address, query = {}) {
  const wanted = Object.entries(query).filter(([, value]) => value !== "" && value !== null && value !== undefined);
  const suffix = wanted.length ? `?${new URLSearchParams(wanted)}` : "";
  const reply = await fetch(address + suffix);
  if (reply.status === 404) return null;
  if (reply.status === 401) throw new Error("it wants the token of the address that it printed: open that one");
  if (!reply.ok) throw new Error(`${address}: ${reply.status}`);
  return reply.json();
}
