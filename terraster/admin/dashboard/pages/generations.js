// The generations of the configuration that are kept: what each changed, the differences between two, and the way back to one.

import { link, put } from "../address.js";
import { call } from "../api.js";
import { h } from "../dom.js";
import { count, moment, short, span } from "../format.js";
import { loaded } from "../loaded.js";
import { REASON, act, choice, table } from "../parts.js";

const SHOWN = 5; // changes of a generation in the table
const LINES = 500; // differences
const TONES = { "+": "added", "-": "removed", "~": "altered" };

export function generations(state, { query, draw }) {
  const { status } = state;
  const { value, failure, again } = loaded(state, `generations ${status.generation}`, "api/generations", {}, draw);
  const items = value?.items ?? [];
  const last = status.last_reload;
  return [
    h("h1", {}, "Generations"),
    h(
      "p",
      {},
      `Generation ${status.generation} runs. `,
      last && !last.ok
        ? [
            h("span", { class: "bad" }, `The last reload was refused ${span(status.now - last.when)} ago.`),
            " ",
            h("a", { href: link("changes") }, "Why"),
          ]
        : null,
    ),
    failure ? h("p", { class: "banner", role: "alert" }, failure) : null,
    value || failure ? null : h("p", { class: "quiet" }, "Loading …"),
    value
      ? table(
          "Generations",
          ["Generation", "When", "Why", "Changes", "Actions"],
          items.map((one, at) => row(state, one, items[at + 1], again, draw)),
        )
      : null,
    items.length > 1
      ? differences(state, items, query, draw)
      : value
        ? h("p", { class: "quiet" }, "There is no earlier one to compare it with.")
        : null,
  ];
}

function row(state, one, before, again, draw) {
  return h(
    "tr",
    { key: one.generation },
    h("th", { scope: "row", class: "number" }, one.generation, " ", one.running ? h("span", { class: "mark good" }, "runs") : null),
    h("td", { class: "number" }, moment(one.when)),
    h("td", { class: "wide", dir: "auto" }, one.why),
    h(
      "td",
      { class: "small wide" },
      one.changes.slice(0, SHOWN).map((text) => h("div", {}, text)),
      one.changes.length > SHOWN && before
        ? h(
            "a",
            { href: link("generations", [], { old: String(before.generation), new: String(one.generation) }) },
            `and ${count(one.changes.length - SHOWN, "more", "more")}`,
          )
        : null,
    ),
    h(
      "td",
      { class: "acts" },
      before ? h("a", { href: link("generations", [], { old: String(before.generation), new: String(one.generation) }) }, "Compare") : null,
      one.running || state.caller?.role !== "admin" ? null : back(state, one, again, draw),
    ),
  );
}

function back(state, one, again, draw) {
  const path = `api/generations/${one.generation}/rollback`;
  return act(state, draw, {
    key: `roll back ${one.generation}`,
    title: `Roll back to ${one.generation}`,
    detail: "The edits and files of that generation run. What it would change:",
    fields: [REASON],
    preview: async () => {
      const { value } = await call("POST", path, { query: { dry_run: "true" }, body: {} });
      return [
        ...(value.changes.length ? value.changes : ["nothing: it is as what runs"]),
        ...(value.touches ?? []).map(touched),
        ...value.notes,
      ];
    },
    run: async (values) => {
      await call("POST", path, { body: { reason: values.reason } });
      await again();
    },
  });
}

function touched(one) {
  const traffic = `${count(one.active, "request")} under way, ${short(one.requests_per_second)} requests/s`;
  return `touches ${one.url} of ${one.service}${one.location}: ${traffic}`;
}

function differences(state, items, query, draw) {
  const known = items.map((one) => String(one.generation));
  const asked = (name, otherwise) => (known.includes(query.get(name)) ? query.get(name) : otherwise);
  const [old, now] = [asked("old", known[1]), asked("new", known[0])];
  const { value, failure } = loaded(state, "diff", "api/generations/diff", { old, new: now }, draw);
  const change = (values) => {
    put({ old, new: now, ...values });
    draw();
  };
  const offered = known.map((number) => [number, number]);
  return [
    h("h2", {}, "Differences"),
    h(
      "form",
      { class: "row", onsubmit: (happened) => happened.preventDefault() },
      choice("From", old, offered, (number) => change({ old: number })),
      choice("To", now, offered, (number) => change({ new: number })),
    ),
    failure ? h("p", { class: "banner", role: "alert" }, failure) : null,
    value && !value.changes.length ? h("p", { class: "quiet" }, "They do not differ.") : null,
    value?.changes.length ? h("ul", { class: "diff" }, value.changes.slice(0, LINES).map(line)) : null,
    value?.changes.length > LINES
      ? h("p", { class: "quiet" }, `${value.changes.length - LINES} more: terrasterctl and the API have all of them`)
      : null,
  ];
}

// Lines begin with the service that they are about, or with a mark.
function line(text) {
  const mark = /(?:^|: )([+~-]) (?!.*: [+~-] )/.exec(text)?.[1];
  return h("li", { class: TONES[mark] ?? "" }, text);
}
