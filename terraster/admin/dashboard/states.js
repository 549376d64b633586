// The last day of backends: a band of states for each, with the reasons. Of many, only those that are or were not up.

import { h } from "./dom.js";
import { clock, count, span } from "./format.js";
import { band } from "./plots.js";
import { DAY, away, periods, target } from "./timeline.js";

const MANY = 12;
const MOST = 50; // bands

// events: changes of state of the service's backends, from /api/events; backends: [{ service, location, backend }], those to show
export function statesPart(state, events, backends, draw) {
  const now = state.status.now;
  const byTarget = Map.groupBy ? Map.groupBy(events, (one) => one.target) : grouped(events);
  const rows = backends.map((one) => ({ ...one, name: target(one.service, one.location, one.backend) }));
  const shown = rows.length > MANY ? rows.filter(({ name, backend }) => !backend.up || byTarget.has(name)).slice(0, MOST) : rows;
  const axis = h(
    "div",
    { class: "axis", "aria-hidden": "true" },
    [1, 0.75, 0.5, 0.25, 0].map((part) => h("span", {}, clock(now - part * DAY))),
  );
  const bands = h(
    "div",
    { class: "bands", role: "list" },
    shown.map(({ name, backend }) => {
      const found = periods(byTarget.get(name) ?? [], backend, now - DAY, now);
      const lost = away(found);
      const times = found.filter((one) => one.state && one.state !== "up").length;
      const summary = times ? `not up for ${span(lost)}, ${count(times, "time")}` : found[0].state ? "up all day" : "up since it is known";
      const tell = (text) => {
        if (state.form.told?.name === name && state.form.told.text === text) return;
        state.form.told = { name, text };
        draw();
      };
      return h(
        "div",
        { class: "backend-day", role: "listitem", key: name },
        h(
          "div",
          { class: "small" },
          h("strong", {}, backend.name || backend.url),
          h("span", { class: "quiet" }, ` ${backend.name ? backend.url : ""} ${backend.endpoint ? backend.address : ""} ${summary}`),
        ),
        band(found, now - DAY, now, `${backend.name || backend.url}, the last day: ${summary}`, (one) => words(one, now), tell),
        state.form.told?.name === name ? h("p", { class: "small told", dir: "auto" }, state.form.told.text) : null,
      );
    }),
  );
  return [
    shown.length ? [bands, axis] : null,
    rows.length > shown.length
      ? h("p", { class: "quiet small" }, `${count(rows.length - shown.length, "backend")} without a change of state in the last day`)
      : null,
  ];
}

function words(one, now) {
  const end = one.to >= now ? "now" : clock(one.to);
  return `${one.state || "not known"} from ${clock(one.from)} to ${end} (${span(one.to - one.from)})${one.why ? `: ${one.why}` : ""}`;
}

function grouped(events) {
  const found = new Map();
  for (const one of events) {
    if (!found.has(one.target)) found.set(one.target, []);
    found.get(one.target).push(one);
  }
  return found;
}
