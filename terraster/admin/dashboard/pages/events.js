// One timeline of everything that happened in the last day, and for a service its traffic and the states of its backends.

import { link, put } from "../address.js";
import { dayPart } from "../day.js";
import { h } from "../dom.js";
import { moment } from "../format.js";
import { loaded } from "../loaded.js";
import { choice, search, table } from "../parts.js";
import { statesPart } from "../states.js";

const KINDS = ["backend", "reload", "generation", "worker", "problem", "operator"];
const ASKED = 2000; // events
const ROWS = 200; // events in the table
const PLOTS = 4; // locations
const TONES = { down: "bad", ejected: "bad", refused: "bad", died: "bad", began: "bad", draining: "warn", maintenance: "warn" };

export function events(state, { query, draw }) {
  const service = state.status.services.find((one) => one.name === query.get("service"));
  const asked = { kind: query.get("kind"), service_name: query.get("service"), limit: ASKED };
  const { value, failure } = loaded(state, "events", "api/events", asked, draw, 10);
  const wanted = (query.get("find") ?? "").toLowerCase();
  const found = (value?.events ?? []).filter((one) => `${one.target} ${one.text}`.toLowerCase().includes(wanted));
  const change = (values) => {
    put(values);
    draw();
  };
  return [
    h("h1", {}, "Events"),
    h(
      "form",
      { class: "row", onsubmit: (happened) => happened.preventDefault() },
      choice("Kind", query.get("kind") ?? "", [["", "all"], ...KINDS.map((kind) => [kind, kind])], (kind) => change({ kind })),
      search(
        "Service",
        query.get("service") ?? "",
        (name) => change({ service: name, path: "" }),
        state.status.services.slice(0, 1000).map((one) => one.name),
      ),
      search("Find", query.get("find") ?? "", (text) => change({ find: text })),
    ),
    service ? ofService(state, service, query, draw) : null,
    h("h2", {}, service ? `Events of ${service.name}` : "Events of the last day"),
    failure ? h("p", { class: "banner", role: "alert" }, failure) : null,
    value ? null : failure ? null : h("p", { class: "quiet" }, "Loading …"),
    value && !found.length ? h("p", { class: "quiet" }, "Nothing happened.") : null,
    found.length
      ? table(
          "Events",
          ["When", "Kind", "About", "What"],
          found.slice(0, ROWS).map((one) => row(state, one)),
        )
      : null,
    found.length > ROWS
      ? h("p", { class: "quiet" }, `${found.length - ROWS} more: choose a kind or a service, or type a part of the text`)
      : null,
  ];
}

function ofService(state, service, query, draw) {
  const path = query.get("path") ?? "";
  const { value: past, failure } = loaded(state, "history", "api/history", { service_name: service.name, path }, draw, 60);
  const { value: changes } = loaded(state, "states", "api/events", { kind: "backend", service_name: service.name, limit: 10000 }, draw, 10);
  const locations = service.locations.filter((one) => !path || one.path === path);
  const backends = locations.flatMap((location) => location.backends.map((backend) => ({ service, location, backend })));
  return [
    h("p", {}, h("a", { href: link("service", [service.name]) }, `Service ${service.name}`)),
    failure ? h("p", { class: "banner", role: "alert" }, failure) : null,
    past
      ? locations
          .slice(0, PLOTS)
          .map((location) => [
            h("h2", {}, `The last day of ${location.path}`),
            dayPart(state, location.path, past.locations.find((one) => one.path === location.path)?.minutes, draw),
          ])
      : null,
    locations.length > PLOTS
      ? h(
          "p",
          { class: "quiet" },
          `${locations.length - PLOTS} more locations: they are linked from `,
          h("a", { href: link("service", [service.name]) }, service.name),
        )
      : null,
    changes && backends.length ? [h("h2", {}, "The last day of its backends"), statesPart(state, changes.events, backends, draw)] : null,
  ];
}

function row(state, one) {
  const name = one.target.replace(/^service /, "").split(/[/ ]/)[0];
  const known = state.status.services.some((service) => service.name === name);
  const tone = TONES[/^[a-z]+/.exec(one.text)?.[0]] ?? (one.kind === "problem" && one.text.includes(" began: ") ? "bad" : "plain");
  return h(
    "tr",
    { key: `${one.when} ${one.kind} ${one.target} ${one.text}` },
    h("th", { scope: "row", class: "number" }, moment(one.when)),
    h("td", {}, h("span", { class: `mark ${tone}` }, one.kind)),
    h("td", { class: "wide" }, known ? h("a", { href: link("events", [], { service: name }) }, one.target) : one.target),
    h("td", { class: "wide", dir: "auto" }, one.text, one.generation ? h("span", { class: "quiet" }, ` (generation ${one.generation})`) : null),
  );
}
