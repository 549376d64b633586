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
