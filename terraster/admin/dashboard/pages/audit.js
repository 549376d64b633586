// Who changed what: the rows of the audit log, the newest first.

import { put } from "../address.js";
import { differences } from "../differences.js";
import { h } from "../dom.js";
import { moment } from "../format.js";
import { loaded } from "../loaded.js";
import { search, table } from "../parts.js";

export function audit(state, { query, draw }) {
  const cursors = (query.get("older") ?? "").split(",").filter(Boolean); // of the pages that were turned
  const words = { user: query.get("user") ?? "", action: query.get("action") ?? "", target: query.get("target") ?? "" };
  const asked = { ...words, limit: 50, cursor: cursors.at(-1) ?? "" };
  const { value, failure, again } = loaded(state, "audit", "api/audit", asked, draw);
  const word = (name, label) =>
    search(label, words[name], (text) => {
      put({ [name]: text, older: "" });
      draw();
    });
  const turn = (way) => () => {
    put({ older: way.join(",") });
    draw();
  };
  return [
    h("h1", {}, "Audit"),
    h(
      "form",
      { class: "row", onsubmit: (happened) => happened.preventDefault() },
      word("user", "User"),
      word("action", "Action"),
      word("target", "Target"),
      h("button", { type: "button", onclick: again }, "Read again"),
    ),
    failure ? h("p", { class: "banner", role: "alert" }, failure) : null,
    value
      ? table("Audit", ["When", "User", "Action", "Target", "Outcome", "Reason", "Change"], value.rows.map(row))
      : failure
        ? null
        : h("p", { class: "quiet" }, "Loading …"),
    h(
      "p",
      { class: "row" },
      cursors.length ? h("button", { type: "button", onclick: turn(cursors.slice(0, -1)) }, "Newer") : null,
      value?.cursor ? h("button", { type: "button", onclick: turn([...cursors, value.cursor]) }, "Older") : null,
    ),
  ];
}

function row(one) {
  return h(
    "tr",
    { key: one.seq },
    h("th", { scope: "row", class: "number" }, moment(one.when)),
    h("td", {}, one.user || "–", h("div", { class: "quiet small" }, [one.role, one.how, one.address].filter(Boolean).join(", "))),
    h("td", {}, one.action),
    h("td", {}, one.target),
    h(
      "td",
      {},
      h("span", { class: `mark ${one.outcome === "done" ? "good" : "bad"}` }, one.outcome),
      one.detail ? h("div", { class: "small" }, one.detail) : null,
    ),
    h("td", { dir: "auto" }, one.reason),
    h(
      "td",
      { class: "small" },
      differences(one.before, one.after).map((text) => h("div", {}, text)),
      one.generation ? h("div", { class: "quiet" }, `generation ${one.generation}`) : null,
    ),
  );
}
