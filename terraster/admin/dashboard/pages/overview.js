// The first page: what is wrong, and how every service does.

import { link, put } from "../address.js";
import { h } from "../dom.js";
import { count, share, short, span, time } from "../format.js";
import { objectivesPart } from "../objectives.js";
import { sparkline } from "../plots.js";
import { backendDots, problemList, search, table } from "../parts.js";

const LATELY = 60; // looks that a plot shows
const ROWS = 200; // services in one table

export function overview(state, { query, draw }) {
  const { status } = state;
  return [
    headline(status),
    problemList(status.problems, status.now),
    services(state, query, draw),
    objectivesPart(state, "", draw),
    facts(status),
  ];
}

function headline(status) {
  const problems = status.problems.length;
  const backends = status.services.flatMap((service) => service.locations.flatMap((location) => location.backends));
  const up = backends.filter((backend) => backend.up).length;
  return h(
    "section",
    { class: `headline ${problems ? "bad" : "good"}` },
    h("h1", {}, problems ? count(problems, "problem") : "No problems"),
    h(
      "p",
      {},
      `${up} of ${count(backends.length, "backend")} up, ${count(status.services.length, "service")}, generation ${status.generation}`,
    ),
  );
}

function services(state, query, draw) {
  const { status } = state;
  const wanted = (query.get("find") ?? "").toLowerCase();
  const found = status.services.filter((service) => [service.name, ...service.hosts].some((text) => text.toLowerCase().includes(wanted)));
  return h(
    "section",
    {},
    h("h2", {}, "Services"),
    status.services.length > 10
      ? search("Find", query.get("find") ?? "", (text) => {
          put({ find: text });
          draw();
        })
      : null,
    table(
      "Services",
      ["Service", "Requests/s", "", "5xx", "p50", "p95", "p99", "", "Backends"],
      found.slice(0, ROWS).map((service) => row(state, service)),
    ),
    found.length > ROWS ? h("p", { class: "quiet" }, `${found.length - ROWS} more: type a part of the name to find one`) : null,
  );
}

function row(state, service) {
  const rows = state.samples.of(service.name).slice(-LATELY);
  const lately = state.samples.lately(service.name);
  const failing = lately.errors > 0;
  return h(
    "tr",
    { key: service.name },
    h(
      "th",
      { scope: "row" },
      h("a", { href: link("service", [service.name]) }, service.name),
      h(
        "div",
        { class: "quiet small" },
        service.hosts.join(", ") || "every host",
        " ",
        service.maintenance ? h("span", { class: "mark warn" }, "maintenance") : null,
      ),
    ),
    h("td", { class: "number" }, short(lately.rate)),
    h(
      "td",
      {},
      sparkline(
        rows.map((one) => one.rate),
        `requests per second, at most ${short(Math.max(0, ...rows.map((one) => one.rate ?? 0)))}`,
      ),
    ),
    h("td", { class: `number${failing ? " bad" : ""}` }, lately.rate ? share(lately.errors, 1) : "–"),
    [0, 1, 2].map((at) => h("td", { class: "number" }, time(lately.times?.[at]))),
    h(
      "td",
      {},
      sparkline(
        rows.map((one) => one.times?.[1] ?? null),
        "p95 of the latency",
        "time",
      ),
    ),
    h("td", {}, backendDots(service)),
  );
}

function facts(status) {
  const soonest = [...status.certificates].filter((one) => one.expires).sort((one, other) => one.expires - other.expires)[0];
  const reload = status.last_reload;
  const proxies = status.workers.filter((worker) => worker.role === "proxy" && !worker.draining);
  const well = proxies.filter((worker) => worker.responding).length;
  return h(
    "section",
    { class: "facts" },
    fact("Workers", `${well} of ${status.wanted_workers} serve`, "#/workers"),
    fact("Connections", short(proxies.reduce((sum, worker) => sum + worker.connections, 0)), "#/workers"),
    fact(
      "Certificates",
      soonest ? `${count(status.certificates.length, "certificate")}; the first ends in ${span(soonest.expires - status.now)}` : "none",
      "#/certificates",
    ),
    fact(
      "Last reload",
      reload ? `${reload.ok ? "succeeded" : "refused"} ${span(status.now - reload.when)} ago` : "none since the start",
      link("generations"),
    ),
    fact("Version", `${status.version}, running for ${span(status.now - status.started)}`, null),
  );
}

function fact(name, text, link) {
  return h("div", {}, h("h3", {}, link ? h("a", { href: link }, name) : name), h("p", {}, text));
}
