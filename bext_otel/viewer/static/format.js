// Numbers, times and colours as people read them.

const digits = (value) => {
  const size = Math.abs(value);
  if (size >= 100 || Number.isInteger(value)) return Math.round(value).toLocaleString("en");
  return String(Number(value.toPrecision(size >= 1 ? 3 : 2)));
};

export function duration(ms) {
  if (ms === null || ms === undefined) return "–";
  const size = Math.abs(ms);
  if (size === 0) return "0 ms";
  if (size < 1) return `${digits(ms * 1e3)} µs`;
  if (size < 1e3) return `${digits(ms)} ms`;
  return size < 6e4 ? `${digits(ms / 1e3)} s` : `${digits(ms / 6e4)} min`;
}

export function count(value) {
  if (value === null || value === undefined) return "–";
  const size = Math.abs(value);
  if (size >= 1e9) return `${digits(value / 1e9)} G`;
  if (size >= 1e6) return `${digits(value / 1e6)} M`;
  return size >= 1e4 ? `${digits(value / 1e3)} k` : digits(value);
}

export function bytes(value) {
  if (value === null || value === undefined) return "–";
  const names = ["B", "KiB", "MiB", "GiB", "TiB"];
  let step = 0;
  let rest = value;
  while (Math.abs(rest) >= 1024 && step < names.length - 1) {
    rest /= 1024;
    step += 1;
  }
  return `${digits(rest)} ${names[step]}`;
}

// How a metric's values read. The unit stands in its name's end, or beside it.
export function reader(metric) {
  const name = metric.name.replace(/_total$/, "");
  if (name.endsWith("_ms") || metric.unit === "ms") return duration;
  if (name.endsWith("_us") || metric.unit === "us") return (value) => duration(value === null ? null : value / 1e3);
  if (name.endsWith("_seconds") || metric.unit === "s") return (value) => duration(value === null ? null : value * 1e3);
  if (name.endsWith("_bytes") || metric.unit === "By") return bytes;
  return count;
}

const pad = (value, length = 2) => String(value).padStart(length, "0");

export function clock(ms, withMillis = true) {
  const at = new Date(ms);
  if (Number.isNaN(at.getTime())) return "–";
  const rest = withMillis ? `.${pad(at.getMilliseconds(), 3)}` : "";
  return `${pad(at.getHours())}:${pad(at.getMinutes())}:${pad(at.getSeconds())}${rest}`;
}

// Round steps of 1, 2 or 5 times a power of ten (of bytes: of those times a power of 1024), about `wanted` of them from 0 to `top`.
export function steps(top, wanted = 4, binary = false) {
  const scale = binary ? 1024 ** Math.max(Math.floor(Math.log(top) / Math.log(1024)), 0) : 1;
  const raw = top / scale / wanted;
  const power = 10 ** Math.floor(Math.log10(raw));
  const size = [1, 2, 5, 10].find((factor) => factor * power >= raw) * power * scale;
  // Where doubles end, a step may be nothing or endless.
  if (!(size > 0) || !Number.isFinite(top / size)) return [0];
  return Array.from({ length: Math.floor(top / size + 1e-9) + 1 }, (_, index) => index * size);
}

// One of the style sheet's series colours; after the last, grey: a colour used twice would lie.
export const colour = (index) => (index < 7 ? `var(--series-${index + 1})` : "var(--series-rest)");

export const statusClass = (status) => {
  const code = Number(status);
  if (code >= 500) return "bad";
  return code >= 400 ? "warn" : "good";
};

export const levelClass = (level) => ({ error: "bad", fatal: "bad", warn: "warn", info: "good" })[level] ?? "plain";
