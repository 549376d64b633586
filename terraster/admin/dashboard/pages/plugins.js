// Plugins in use, what they cost and what went wrong with them.

import { h } from "../dom.js";
import { short, time } from "../format.js";
import { table } from "../parts.js";

const TONES = { active: "good", kept: "warn", quarantined: "bad" };

export function plugins(state) {
  const rows = state.status.plugins;
  return [
    h("h1", {}, "Plugins"),
    rows.length
      ? table(
          "Plugins",
          ["Plugin", "State", "Services", "Calls", "Mean time", "Answers", "Exceptions", "Cut off"],
          rows.map((one) =>
            h(
              "tr",
              { key: one.name },
              h("th", { scope: "row" }, one.name, h("div", { class: "quiet small" }, one.file || one.origin)),
              h(
                "td",
                {},
                h("span", { class: `mark ${TONES[one.state] ?? "warn"}` }, one.state),
                one.problem ? h("div", { class: "small bad" }, one.problem) : null,
              ),
              h("td", { class: "small" }, one.services.join(", ")),
              h("td", { class: "number" }, short(one.calls)),
              h("td", { class: "number" }, time(one.mean_seconds)),
              h("td", { class: "number" }, short(one.answers)),
              h("td", { class: `number${one.exceptions ? " bad" : ""}` }, short(one.exceptions)),
              h("td", { class: `number${one.timeouts ? " bad" : ""}` }, short(one.timeouts)),
            ),
          ),
        )
      : h("p", {}, "No service uses a plugin."),
  ];
}
