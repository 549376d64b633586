// What limits there are, how far they are used, and what they refused.

import { link, put } from "../address.js";
import { h } from "../dom.js";
import { short, span } from "../format.js";
import { loaded } from "../loaded.js";
import { search, table } from "../parts.js";

const ASKED = 500; // limits
const ROWS = 100; // of each table
const NEAR = 0.8; // the share of a limit from which it is marked

export function limits(state, { query, draw }) {
  const { status, samples } = state;
  const wanted = (query.get("find") ?? "").toLowerCase();
  const { value, failure } = loaded(state, "limits", "api/limits", { limit: ASKED }, draw, 10);
  const places = status.services.flatMap((service) => service.locations.map((location) => ({ service, location })));
  const found = (service, path, ...texts) => [`${service}${path}`, ...texts].some((text) => text.toLowerCase().includes(wanted));
  const ofClients = (value?.items ?? []).filter((one) => found(one.service_name, one.path, one.kind, one.name));
  const ofBackends = places
    .flatMap(({ service, location }) => location.backends.map((backend) => ({ service, location, backend })))
    .filter(({ service, location, backend }) => backend.max_connections && found(service.name, location.path, backend.url, backend.name ?? ""))
    .sort((one, other) => used(other.backend) - used(one.backend));
  const queues = places.filter(({ service, location }) => location.queue && found(service.name, location.path));
  const refused = queues.filter(({ location }) => location.queued || location.queue_refused || location.queue_timeouts);
  const narrow = (text) => {
    put({ find: text });
    draw();
  };
  return [
    h("h1", {}, "Limits"),
    h("form", { class: "row", onsubmit: (happened) => happened.preventDefault() }, search("Find", query.get("find") ?? "", narrow)),
    h("h2", {}, "Limits of clients"),
    failure ? h("p", { class: "banner", role: "alert" }, failure) : null,
    value || failure ? null : h("p", { class: "quiet" }, "Loading …"),
    value && !ofClients.length ? h("p", { class: "quiet" }, wanted ? "No such limit." : "No location limits its clients.") : null,
    ofClients.length
      ? table(
          "Limits of clients",
          ["Location", "Limit", "Allowed", "Refused recently", "Refused since the start", "No room"],
          ofClients.slice(0, ROWS).map((one) => row(one, samples, places)),
        )
      : null,
    more(ofClients.length, value?.next),
    h("h2", {}, "Connections of backends"),
    ofBackends.length
      ? table(
          "Connections of backends",
          ["Location", "Backend", "Used", "Limit"],
          ofBackends.slice(0, ROWS).map(({ service, location, backend }) => ofBackend(service, location, backend)),
        )
      : h("p", { class: "quiet" }, wanted ? "No such backend with a limit." : "No backend has max_connections."),
    more(ofBackends.length),
    h("h2", {}, "Queues"),
    refused.length
      ? table(
          "Queues",
          ["Location", "Waiting", "Room", "Refused since the start", "Timed out since the start"],
          refused.slice(0, ROWS).map(({ service, location }) => ofQueue(service, location)),
        )
      : h("p", { class: "quiet" }, "No request waits, none was refused by a queue."),
    more(refused.length),
  ];
}

const used = (backend) => backend.active / backend.max_connections;
const more = (number, next = null) =>
  number > ROWS || next ? h("p", { class: "quiet" }, "There are more: type a part of the name to find one.") : null;
const place = (service, path) => h("th", { scope: "row" }, h("a", { href: link("service", [service]) }, `${service}${path}`));

function row(one, samples, places) {
  const kept = places.find(({ service, location }) => service.name === one.service_name && location.path === one.path);
  const counts = kept?.location.filters[one.kind] ?? one.counts;
  const lately = samples.refused(`${one.service_name}${one.path}`, one.kind);
  return h(
    "tr",
    { key: `${one.service_name} ${one.path} ${one.kind} ${one.name}` },
    place(one.service_name, one.path),
    h(
      "td",
      {},
      one.kind.replaceAll("_", " "),
      one.name ? ` ${one.name}` : "",
      one.settings.mode === "observe" ? h("span", { class: "mark warn" }, "observes only") : null,
    ),
    h("td", {}, one.settings.enabled === false ? h("span", { class: "quiet" }, "off") : allowed(one)),
    h("td", { class: `number${lately?.number ? " bad" : ""}` }, lately ? `${short(lately.number)} in ${span(lately.seconds)}` : "–"),
    h("td", { class: "number" }, short((counts.refused ?? 0) + (counts.observed ?? 0))),
    h("td", { class: `number${counts.forgotten || counts.uncounted ? " bad" : ""}` }, short((counts.forgotten ?? 0) + (counts.uncounted ?? 0))),
  );
}

function allowed({ kind, settings }) {
  if (kind === "limit_connections") return `${short(settings.per_client)} at once for each client`;
  const burst = settings.burst ?? Math.ceil(settings.requests_per_second);
  return `${settings.requests_per_second}/s, ${short(burst)} at once, for each ${settings.key}`;
}

function ofBackend(service, location, backend) {
  const share = used(backend);
  return h(
    "tr",
    { key: `${service.name}${location.path} ${backend.url} ${backend.address}` },
    place(service.name, location.path),
    h("td", {}, backend.name ? `${backend.name} ` : null, backend.url),
    h("td", { class: `number${share >= NEAR ? " bad" : ""}` }, `${short(backend.active)} (${Math.round(100 * share)} %)`),
    h("td", { class: "number" }, short(backend.max_connections)),
  );
}

function ofQueue(service, location) {
  return h(
    "tr",
    { key: `${service.name}${location.path}` },
    place(service.name, location.path),
    h("td", { class: `number${location.queued ? " bad" : ""}` }, short(location.queued)),
    h("td", { class: "number" }, short(location.queue)),
    h("td", { class: "number" }, short(location.queue_refused)),
    h("td", { class: "number" }, short(location.queue_timeouts)),
  );
}
