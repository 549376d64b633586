// Overrides of the configuration file, and a reload of it.

import { call } from "../api.js";
import { h } from "../dom.js";
import { moment, span } from "../format.js";
import { loaded } from "../loaded.js";
import { act, mayAct, table } from "../parts.js";

export function changes(state, { draw }) {
  const { status } = state;
  const { value, failure, again } = loaded(state, "overrides", "api/overrides", {}, draw);
  const last = status.last_reload;
  return [
    h("h1", {}, "Overrides"),
    h("p", {}, `Generation ${status.generation} runs. `, last ? `The last reload ${last.ok ? "succeeded" : "was refused"}, ${moment(last.when)}.` : "It was not reloaded since the start."),
    last && !last.ok ? h("ul", {}, last.problems.map((text) => h("li", { class: "bad" }, text))) : null,
    mayAct(state)
      ? act(state, draw, {
          key: "reload",
          title: "Reload the file",
          detail: "What it would change:",
          preview: async () => {
            const { value: found } = await call("POST", "api/reload", { query: { dry_run: "true" } });
            return found.changes.length ? found.changes : ["nothing: the file is what runs"];
          },
          run: () => call("POST", "api/reload"),
        })
      : null,
    failure ? h("p", { class: "banner", role: "alert" }, failure) : null,
    value && !value.edits.length ? h("p", { class: "quiet" }, "Nothing overrides the configuration file.") : null,
    value?.edits.length
      ? table(
          "Overrides",
          ["Override", "By", "When", "Ends", "Reason", "Actions"],
          value.edits.map((one) =>
            h(
              "tr",
              { key: one.number },
              h("th", { scope: "row" }, one.words, one.dormant ? h("div", { class: "small bad" }, one.dormant) : null),
              h("td", {}, one.by),
              h("td", {}, moment(one.when)),
              h("td", { title: moment(one.until) }, one.until ? `in ${span(one.until - status.now)}` : "–"),
              h("td", {}, one.reason),
              h("td", { class: "acts" }, mayAct(state) ? dropping(state, draw, one, again) : null),
            ),
          ),
        )
      : null,
  ];
}

function dropping(state, draw, edit, again) {
  return act(state, draw, {
    key: `drop ${edit.number}`,
    title: "Drop",
    detail: "The file holds again.",
    run: async () => {
      await call("DELETE", `api/overrides/${edit.number}`);
      await again();
    },
  });
}
