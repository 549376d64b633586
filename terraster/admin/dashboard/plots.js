// Small plots, as SVG.

import { h } from "./dom.js";

const WIDTH = 120;
const HEIGHT = 24;

// A line of the last values, oldest first; null where nothing is known. label: for those who do not see it.
export function sparkline(values, label, kind = "rate") {
  const most = Math.max(...values.map((value) => value ?? 0), 1e-9);
  const step = WIDTH / Math.max(1, values.length - 1);
  let line = "";
  let drawing = false;
  values.forEach((value, index) => {
    if (value === null) {
      drawing = false;
      return;
    }
    line += `${drawing ? "L" : "M"}${(index * step).toFixed(1)} ${(HEIGHT - 2 - (value / most) * (HEIGHT - 4)).toFixed(1)}`;
    drawing = true;
  });
  return h(
    "svg",
    { class: `spark ${kind}`, viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img", "aria-label": label },
    h("path", { d: line || "M0 0" }),
  );
}

// How a state is drawn: its colour, and its height, for those who do not tell colours apart.
const BARS = { up: ["good", 8], draining: ["warn", 14], maintenance: ["warn", 14], "": ["unknown", 3] };
const WIDE = 1000;
const TALL = 22;
const FOCUSED = 20; // parts of a band that the keyboard reaches, the last ones

// A band of states over time. found: of `periods`; words: the text of one; tell: is called with a text that the viewer points at
export function band(found, from, to, label, words, tell) {
  const scale = WIDE / (to - from);
  const told = found.filter((one) => one.state && one.state !== "up").slice(-FOCUSED);
  return h(
    "svg",
    { class: "band", viewBox: `0 0 ${WIDE} ${TALL}`, preserveAspectRatio: "none", role: "group", "aria-label": label },
    found.map((one) => {
      const [tone, height] = BARS[one.state] ?? ["bad", TALL];
      const text = words(one);
      const width = Math.max(one.state === "up" || !one.state ? 0 : 4, (one.to - one.from) * scale);
      const x = Math.min(WIDE - width, (one.from - from) * scale);
      const shape = { class: tone, x: x.toFixed(1), y: TALL - height, width: width.toFixed(1), height };
      const pointed = told.includes(one)
        ? { tabindex: 0, role: "img", "aria-label": text, onfocus: () => tell(text), onmouseenter: () => tell(text) }
        : {};
      return h("rect", { ...shape, ...pointed }, h("title", { svg: true }, text));
    }),
  );
}

const DEEP = 100;

// Lines over a day. lines: [{ kind, values }], with null where nothing is known; most: the value at the upper edge; at: the index of the
// value that is told, or null; point: is called with the index that the viewer points at
export function dayPlot(lines, most, label, at, point) {
  const last = lines[0].values.length - 1;
  const x = (index) => ((index * WIDE) / last).toFixed(1);
  const y = (value) => (DEEP - 2 - (value / Math.max(most, 1e-9)) * (DEEP - 6)).toFixed(1);
  return h(
    "svg",
    {
      class: "day",
      viewBox: `0 0 ${WIDE} ${DEEP}`,
      preserveAspectRatio: "none",
      role: "img",
      "aria-label": label,
      onpointermove: (happened) => {
        const box = happened.currentTarget.getBoundingClientRect();
        point(Math.max(0, Math.min(last, Math.round(((happened.clientX - box.left) / box.width) * last))));
      },
    },
    at === null ? null : h("line", { x1: x(at), x2: x(at), y1: 0, y2: DEEP }),
    lines.map(({ kind, values }) => {
      let line = "";
      values.forEach((value, index) => {
        if (value === null) return;
        const begins = index === 0 || values[index - 1] === null;
        line += `${begins ? "M" : "L"}${x(index)} ${y(value)}${begins && (values[index + 1] ?? null) === null ? "h1" : ""}`;
      });
      return h("path", { class: kind, d: line || "M0 0" });
    }),
  );
}
