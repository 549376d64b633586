// Single requests: those that are open now, and those that were lately refused, failed or left by their client, with the reason of each.

import { link, put } from "../address.js";
import { h } from "../dom.js";
import { count, moment, short, span, time } from "../format.js";
import { loaded } from "../loaded.js";
import { choice, search, table } from "../parts.js";

const KINDS = [["", "all"], ["refused", "refused"], ["failed", "failed"], ["aborted", "aborted by the client"]];
const STATUSES = [["", "all"], ["4xx", "4xx"], ["5xx", "5xx"]];
const ROWS = 100; // of each table
const EVERY = 2; // seconds
const TONES = { refused: "warn", failed: "bad", aborted: "plain" };

export function requests(state, { query, draw }) {
  const names = state.status.services.slice(0, 1000).map((one) => one.name);
  const typed = query.get("service") ?? "";
  const service = state.status.services.some((one) => one.name === typed) ? typed : "";
  const open = loaded(state, "requests", "api/requests", { service_name: service, limit: ROWS }, draw, EVERY);
  const asked = { service_name: service, kind: query.get("kind") ?? "", status: query.get("status") ?? "", limit: ROWS };
  const past = loaded(state, "failures", "api/failures", asked, draw, EVERY);
  const change = (values) => {
    put(values);
    draw();
  };
  const failure = open.failure || past.failure;
  const silent = open.value?.silent ?? [];
  return [
    h("h1", {}, "Requests"),
    h(
      "form",
      { class: "row", onsubmit: (happened) => happened.preventDefault() },
      search("Service", typed, (name) => change({ service: name }), names),
      choice("Kind", asked.kind, KINDS, (kind) => change({ kind })),
      choice("Status", asked.status, STATUSES, (status) => change({ status })),
    ),
    typed && !service ? h("p", { class: "quiet" }, "There is no service of this name: all are shown.") : null,
    failure ? h("p", { class: "banner", role: "alert" }, failure) : null,
    silent.length ? h("p", { class: "banner", role: "alert" }, `${count(silent.length, "worker")} (${silent.join(", ")}) ${silent.length === 1 ? "does" : "do"} not answer: their requests are missing here.`) : null,
    h("h2", {}, open.value ? `${count(open.value.open, "request")} open` : "Open requests"),
    part(open, (value) => value.requests, "No request is open.", (rows) =>
      table("Open requests", ["For", "Phase", "Request", "Client", "Service", "Backend", "Octets in, out"], rows.map((one) => openRow(state, one))),
    ),
    h("h2", {}, "Recently refused, failed or aborted"),
    part(past, (value) => value.failures, "No such request.", (rows) =>
      table("Failures", ["When", "Status", "Reason", "Request", "Client", "Service", "Backend", "Took"], rows.map((one) => failureRow(state, one))),
    ),
  ];
}

function part({ value, failure }, rows, none, shown) {
  if (!value) return failure ? null : h("p", { class: "quiet" }, "Loading …");
  return rows(value).length ? shown(rows(value)) : h("p", { class: "quiet" }, none);
}

function openRow(state, one) {
  return h(
    "tr",
    { key: `${one.worker} ${one.request_id}` },
    h("th", { scope: "row", class: "number" }, one.age < 10 ? time(one.age) : span(one.age)),
    h("td", {}, h("span", { class: `mark ${one.phase === "queued" ? "warn" : "plain"}` }, one.phase)),
    requestCell(one),
    h("td", {}, one.client),
    serviceCell(state, one),
    backendCell(one),
    h("td", { class: "number" }, `${short(one.bytes_in)}, ${short(one.bytes_out)}`),
  );
}

function failureRow(state, one) {
  return h(
    "tr",
    { key: `${one.worker} ${one.request_id}` },
    h("th", { scope: "row", class: "number" }, moment(one.when)),
    h("td", {}, h("span", { class: `mark ${TONES[one.kind]}` }, `${one.status} ${one.kind}`)),
    h("td", { class: "wide", dir: "auto" }, one.reason, one.detail ? h("div", { class: "small" }, one.detail) : null),
    requestCell(one),
    h("td", {}, one.client),
    serviceCell(state, one),
    backendCell(one),
    h("td", { class: "number" }, time(one.duration)),
  );
}

function requestCell(one) {
  return h("td", { class: "wide", dir: "auto" }, `${one.method} ${one.host}${one.path}`, h("div", { class: "quiet small" }, one.request_id));
}

function serviceCell(state, one) {
  const known = state.status.services.some((service) => service.name === one.service);
  const words = `${one.service}${one.location}`;
  return h("td", {}, known ? h("a", { href: link("service", [one.service]) }, words) : words || "–");
}

function backendCell(one) {
  return h("td", {}, one.backend || "–", one.tries > 1 ? h("div", { class: "small" }, count(one.tries, "attempt")) : null);
}
