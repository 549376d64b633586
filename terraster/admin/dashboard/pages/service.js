// One service: its locations, and every backend with its state and the reason for it.

import { address, link, put } from "../address.js";
import { call } from "../api.js";
import { dayPart } from "../day.js";
import { h } from "../dom.js";
import { count, moment, share, short, span, time } from "../format.js";
import { loaded } from "../loaded.js";
import { objectivesPart } from "../objectives.js";
import { sparkline } from "../plots.js";
import { REASON, UNTIL, act, mayAct, problemList, search, stateMark, table } from "../parts.js";
import { statesPart } from "../states.js";

const LATELY = 60; // looks that a plot shows
const ROWS = 50; // backends of a location in one table
const PLOTS = 4; // locations of a service whose day is shown here

export function servicePage(state, { parts, draw }) {
  const service = state.status.services.find((one) => one.name === parts[0]);
  if (!service) return [h("h1", {}, "Service"), h("p", {}, `There is no service ${parts[0] ?? ""} in the running configuration.`)];
  const problems = state.status.problems.filter((one) => one.service === service.name);
  const isSmall = service.locations.length <= PLOTS;
  const { value: past } = isSmall ? loaded(state, "history", "api/history", { service_name: service.name }, draw, 60) : {};
  const asked = { kind: "backend", service_name: service.name, limit: 10000 };
  const { value: changes } = isSmall ? loaded(state, "states", "api/events", asked, draw, 10) : {};
  return [
    h("h1", {}, service.name),
    h(
      "p",
      { class: "quiet" },
      `${service.hosts.join(", ") || "every host"} on ${service.listeners.join(", ")} `,
      h("a", { href: link("events", [], { service: service.name }) }, "Events"),
    ),
    service.maintenance
      ? h("p", { class: "banner" }, `In maintenance${service.maintenance.reason ? `: ${service.maintenance.reason}` : ""}`)
      : null,
    problemList(problems, state.status.now),
    service.locations.map((location) => locationPart(state, service, location, past, changes, draw)),
    objectivesPart(state, service.name, draw),
  ];
}

function locationPart(state, service, location, past, changes, draw) {
  const name = `${service.name}${location.path}`;
  const rows = state.samples.of(name).slice(-LATELY);
  const lately = state.samples.lately(name);
  return h(
    "section",
    { key: location.path },
    h("h2", {}, location.path, " ", h("span", { class: "quiet small" }, what(location))),
    h(
      "dl",
      { class: "figures" },
      figure(
        "Requests/s",
        short(lately.rate),
        sparkline(
          rows.map((one) => one.rate),
          "requests per second",
        ),
      ),
      figure(
        "5xx",
        lately.rate ? share(lately.errors, 1) : "–",
        sparkline(
          rows.map((one) => one.errors),
          "share of 5xx",
          "errors",
        ),
      ),
      figure(
        "Latency",
        latency(lately.times),
        sparkline(
          rows.map((one) => one.times?.[1] ?? null),
          "p95 of the latency",
          "time",
        ),
      ),
      figure(
        "Answers",
        Object.entries(location.responses)
          .map(([name, number]) => `${name} ${short(number)}`)
          .join("  ") || "none",
      ),
      location.queued || location.queue_refused || location.queue_timeouts
        ? figure("Queue", `${location.queued} wait; ${short(location.queue_refused)} refused, ${short(location.queue_timeouts)} timed out`)
        : null,
      location.retries
        ? figure("Retries", `${short(location.retries)}; ${short(location.retry_budget_refusals)} refused by the budget`)
        : null,
      Object.entries(location.filters).map(([filter, counts]) =>
        figure(
          filter,
          Object.entries(counts)
            .map(([counter, number]) => `${counter.replaceAll("_", " ")} ${short(number)}`)
            .join("  ") || "in use",
        ),
      ),
    ),
    location.backends.length ? backendTable(state, service, location, draw) : null,
    h("h3", { class: "apart" }, "The last day"),
    past ? dayPart(state, location.path, past.locations.find((one) => one.path === location.path)?.minutes, draw) : null,
    changes && location.backends.length
      ? statesPart(
          state,
          changes.events,
          location.backends.map((backend) => ({ service, location, backend })),
          draw,
        )
      : null,
    past
      ? null
      : h(
          "p",
          {},
          h(
            "a",
            { href: link("events", [], { service: service.name, path: location.path }) },
            `Events and the last day of ${location.path}`,
          ),
        ),
  );
}

// Those that do not serve come first, so that no bound hides them.
function backendTable(state, service, location, draw) {
  const name = `find ${location.path}`;
  const asked = address().query.get(name) ?? "";
  const wanted = asked.toLowerCase();
  const texts = (backend) => [backend.url, backend.name ?? "", backend.address ?? "", backend.state];
  const found = location.backends.filter((backend) => texts(backend).some((text) => text.toLowerCase().includes(wanted)));
  const first = [...found.filter((backend) => !backend.up), ...found.filter((backend) => backend.up)];
  return [
    location.backends.length > ROWS
      ? search("Find", asked, (text) => {
          put({ [name]: text });
          draw();
        })
      : null,
    table(
      `Backends of ${location.path}`,
      ["Backend", "State", "Weight", "Open", "Requests/s", "", "Errors", "Latency", ...(mayAct(state) ? ["Actions"] : [])],
      first.slice(0, ROWS).map((backend) => backendRow(state, service, location, backend, draw)),
    ),
    found.length > ROWS
      ? h("p", { class: "quiet" }, `${found.length - ROWS} more: type a part of the address or the state to find them`)
      : null,
  ];
}

function what(location) {
  if (location.redirect) return `redirects to ${typeof location.redirect === "string" ? location.redirect : "another place"}`;
  if (location.split)
    return `split among ${Object.entries(location.split)
      .map(([arm, weight]) => `${arm} (${weight})`)
      .join(", ")}`;
  return location.policy ?? "";
}

function latency(times) {
  return times ? ["p50", "p95", "p99"].map((name, at) => `${name} ${time(times[at])}`).join("  ") : "–";
}

function figure(name, text, plot = null) {
  return h("div", {}, h("dt", {}, name), h("dd", {}, text, plot));
}

function backendRow(state, service, location, backend, draw) {
  const name = `${service.name}${location.path} ${backend.url} ${backend.address}`;
  const rows = state.samples.of(name).slice(-LATELY);
  const lately = state.samples.lately(name);
  const now = state.status.now;
  const weight = backend.weight_override ? `${backend.weight} (file: ${backend.configured_weight})` : backend.weight;
  return h(
    "tr",
    { key: `${backend.url} ${backend.address}` },
    h(
      "th",
      { scope: "row" },
      backend.name ? `${backend.name} ` : null,
      backend.url,
      backend.endpoint ? h("div", { class: "quiet small" }, backend.address) : null,
    ),
    h(
      "td",
      { class: "state" },
      stateMark(backend),
      backend.since ? h("span", { class: "quiet", title: moment(backend.since) }, ` ${span(now - backend.since)}`) : null,
      backend.reason || backend.order?.reason ? h("div", { class: "small", dir: "auto" }, backend.order?.reason || backend.reason) : null,
      backend.until ? h("div", { class: "quiet small", title: moment(backend.until) }, `ends in ${span(backend.until - now)}`) : null,
      backend.circuit !== "closed" ? h("div", { class: "small bad" }, `circuit ${backend.circuit}`) : null,
    ),
    h("td", { class: "number" }, weight),
    h("td", { class: "number" }, `${short(backend.active)}${backend.max_connections ? ` of ${short(backend.max_connections)}` : ""}`),
    h("td", { class: "number" }, short(lately.rate)),
    h(
      "td",
      {},
      sparkline(
        rows.map((one) => one.rate),
        "requests per second",
      ),
    ),
    h(
      "td",
      { class: `number${lately.errors > 0 ? " bad" : ""}` },
      lately.rate ? share(lately.errors, 1) : "–",
      backend.recent_failures
        ? h("div", { class: "small failures" }, `${count(backend.recent_failures, "recent failure")}: ${backend.recent_failure}`)
        : null,
    ),
    h("td", { class: "number" }, time(backend.recent_latency ?? backend.latency)),
    mayAct(state) ? h("td", { class: "acts" }, acts(state, service, location, backend, draw)) : null,
  );
}

// What an operator can do with a backend. Where a host name has several addresses, an order is for the one of this row.
function acts(state, service, location, backend, draw) {
  const url = backend.endpoint ? `${backend.url}@${backend.address}` : backend.url;
  const doing = (title, detail, fields, body) =>
    act(state, draw, {
      key: `${title} ${service.name}${location.path} ${url}`,
      title,
      detail,
      fields,
      run: (values) =>
        call("PATCH", "api/backends", {
          query: { service_name: service.name, path: location.path, url },
          headers: { "If-Match": "*" },
          body: body(values),
        }),
    });
  const order = (values) => ({ reason: values.reason, ...(values.for ? { for: values.for } : {}) });
  if (backend.order) return doing("Enable", `${url} gets requests again.`, [], () => ({ drain: false }));
  return [
    doing("Drain", `${url} gets no new clients; those it has stay.`, [REASON, UNTIL], (values) => ({ drain: true, ...order(values) })),
    doing("Maintain", `${url} gets no requests at all.`, [REASON, UNTIL], (values) => ({ maintenance: true, ...order(values) })),
    backend.endpoint
      ? null
      : doing(
          "Weight",
          "The weight overrides that of the configuration file until it is dropped.",
          [{ name: "weight", label: "Weight", type: "number", min: 0, max: 1000000, required: true, value: backend.weight }, REASON, UNTIL],
          (values) => ({ weight: Number(values.weight), ...order(values) }),
        ),
  ];
}
