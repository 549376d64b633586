// Objectives of locations: how fast their error budgets burn, and what is left of them.

import { h } from "./dom.js";
import { moment } from "./format.js";
import { loaded } from "./loaded.js";
import { table } from "./parts.js";

const ROWS = 10; // of all services together
const MOST = 500;
const WINDOWS = ["1h", "6h", "3d"];
const TONES = { page: ["bad", "burns fast"], ticket: ["warn", "burns slowly"] };
const WORST = { page: 0, ticket: 1 };

// What burns fast is a problem as well, with its text: it is not repeated here.
// The objectives of a service, "": those of all services that are worst off. Nothing where there are none.
export function objectivesPart(state, service, draw) {
  const { value } = loaded(state, "objectives", "api/slo", { service_name: service, limit: MOST }, draw, 30);
  if (!value?.items.length) return null;
  const rank = (one) => WORST[one.burning?.severity] ?? 2;
  const found = [...value.items].sort((one, other) => rank(one) - rank(other) || one.budget_left - other.budget_left);
  const shown = service ? found : found.slice(0, ROWS);
  return h(
    "section",
    { key: "objectives" },
    h("h2", {}, "Objectives"),
    table(
      "Objectives",
      ["Location", "Objective", "Budget left", ...WINDOWS.map((name) => `Burn ${name}`), "State"],
      shown.map((one) => row(one, !service)),
    ),
    shown.length < found.length ? h("p", { class: "quiet" }, `${found.length - shown.length} more, on the pages of their services`) : null,
  );
}

function row(one, isLinked) {
  const [tone, word] = TONES[one.burning?.severity] ?? (one.budget_left ? ["good", "ok"] : ["warn", "spent"]);
  const name = `${one.service_name}${one.path}`;
  return h(
    "tr",
    { key: `${name} ${one.objective}` },
    h("th", { scope: "row" }, isLinked ? h("a", { href: `#/service/${encodeURIComponent(one.service_name)}` }, name) : one.path),
    h("td", { title: one.since ? `counted since ${moment(one.since)}` : null }, one.text.replace(" %", "\u00a0%")),
    h("td", { class: `number${one.budget_left ? "" : " bad"}` }, `${(100 * one.budget_left).toFixed(one.budget_left < 0.01 && one.budget_left ? 1 : 0)} %`),
    WINDOWS.map((window) => h("td", { class: "number" }, rate(one.burn_rates[window]))),
    h("td", { class: "state" }, h("span", { class: `mark ${tone}` }, word), one.burning?.severity === "ticket" ? h("div", { class: "small" }, one.burning.text) : null),
  );
}

function rate(value) {
  return value === undefined ? "–" : value.toFixed(value < 1000 ? 1 : 0);
}
