// The last day of a location: requests, errors and latency as plots. The figures of a moment are for the pointer, the keyboard and screen
// readers.

import { h } from "./dom.js";
import { clock, share, short, time } from "./format.js";
import { dayPlot } from "./plots.js";
import { slots } from "./timeline.js";

const NAMES = ["p50", "p95", "p99"];
const kept = new WeakMap(); // of minutes: what was made of them, and for which five minutes

function slotsOf(minutes, now) {
  const known = kept.get(minutes);
  const turn = Math.floor(now / 60);
  if (known?.turn === turn) return known.found;
  const found = slots(minutes, now);
  kept.set(minutes, { turn, found });
  return found;
}

// minutes: rows of /api/history, or null where there was no traffic. key: of the location within the page
export function dayPart(state, key, minutes, draw) {
  if (!minutes?.length) return h("p", { class: "quiet small" }, "No traffic in the last day.");
  const found = slotsOf(minutes, state.status.now);
  const last = found.length - 1;
  const at = state.form.moments?.[key] ?? found.findLastIndex((slot) => slot.requests !== null);
  const point = (index) => {
    (state.form.moments ??= {})[key] = index;
    draw();
  };
  const marked = state.form.moments?.[key] === undefined ? null : at;
  const most = (values) => Math.max(0, ...values.map((value) => value ?? 0));
  const requests = found.map((slot) => slot.requests);
  const errors = found.map((slot) => (slot.requests ? slot.errors / slot.requests : null));
  const times = NAMES.map((_, index) => found.map((slot) => slot.times?.[index] ?? null));
  const plots = [
    ["Requests/s", `at most ${short(most(requests))}`, [{ kind: "rate", values: requests }], most(requests)],
    ["5xx", `at most ${share(most(errors), 1)}`, [{ kind: "errors", values: errors }], Math.max(0.01, most(errors))],
    ["Latency", `p99 at most ${time(most(times[2]))}`, times.map((values, index) => ({ kind: NAMES[index], values })), most(times[2])],
  ];
  return h(
    "div",
    { class: "days" },
    plots.map(([name, words, lines, top]) =>
      h(
        "figure",
        {},
        h("figcaption", {}, h("strong", {}, name), ` ${words}`, lines.length > 1 ? legend() : null),
        dayPlot(lines, top, `${name} of the last day, ${words}`, marked, point),
        h(
          "div",
          { class: "axis", "aria-hidden": "true" },
          [0, 0.25, 0.5, 0.75, 1].map((part) => h("span", {}, clock(found[Math.round(part * last)].from))),
        ),
      ),
    ),
    h(
      "label",
      { class: "moment" },
      "Moment ",
      h("input", {
        type: "range",
        min: 0,
        max: last,
        value: at,
        "aria-valuetext": words(found[at]),
        oninput: (happened) => point(Number(happened.target.value)),
      }),
      h("span", { class: "number small" }, words(found[at])),
    ),
  );
}

const legend = () => NAMES.map((name) => [" ", h("span", { class: `key ${name}` }, name)]);

function words(slot) {
  const times = slot.times ? `, ${NAMES.map((name, index) => `${name} ${time(slot.times[index])}`).join(", ")}` : "";
  if (slot.requests === null) return `${clock(slot.from)}: not known yet`;
  return `${clock(slot.from)}: ${short(slot.requests)} requests/s, ${share(slot.errors, slot.requests)} 5xx${times}`;
}
