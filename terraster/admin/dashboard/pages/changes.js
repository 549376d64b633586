// Overrides of the configuration file, and a reload of it.

import { link } from "../address.js";
import { call } from "../api.js";
import { h } from "../dom.js";
import { moment, span } from "../format.js";
import { loaded } from "../loaded.js";
import { act, mayAct, table } from "../parts.js";

const ROWS = 200; // drains
const MOST = 500; // overrides

export function changes(state, { draw }) {
  const { status } = state;
  const { value, failure, again } = loaded(state, "overrides", "api/overrides", { limit: MOST }, draw);
  const last = status.last_reload;
  return [
    h("h1", {}, "Overrides"),
    h(
      "p",
      {},
      `Generation ${status.generation} runs. `,
      last ? `The last reload ${last.ok ? "succeeded" : "was refused"}, ${moment(last.when)}.` : "It was not reloaded since the start.",
    ),
    last && !last.ok
      ? h(
          "ul",
          {},
          last.problems.map((text) => h("li", { class: "bad" }, text)),
        )
      : null,
    mayAct(state)
      ? h(
          "div",
          { class: "reload" },
          act(state, draw, {
            key: "reload",
            title: "Reload the file",
            detail: "What it would change:",
            preview: async () => {
              const { value: found } = await call("POST", "api/reload", { query: { dry_run: "true" } });
              return found.changes.length ? found.changes : ["nothing: the file is what runs"];
            },
            run: () => call("POST", "api/reload"),
          }),
        )
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
              h("td", { dir: "auto" }, one.reason),
              h(
                "td",
                { class: "acts" },
                mayAct(state) ? dropping(state, draw, one, again) : null,
                state.caller?.role === "admin" ? adopting(state, draw, one, again) : null,
              ),
            ),
          ),
        )
      : null,
    value?.next ? h("p", { class: "quiet" }, `There are more than ${MOST}: terrasterctl edits has all.`) : null,
    h("h2", {}, "Drains and maintenance"),
    orders(status),
  ];
}

function orders(status) {
  const rows = status.services.flatMap((service) => [
    ...(service.maintenance ? [{ name: service.name, service, order: service.maintenance }] : []),
    ...service.locations.flatMap((location) =>
      location.backends
        .filter((backend) => backend.order)
        .map((backend) => ({
          name: `${backend.name || backend.url} of ${service.name}${location.path}`,
          service,
          order: backend.order,
          key: backend.address,
        })),
    ),
  ]);
  if (!rows.length) return h("p", { class: "quiet" }, "No backend is drained and none is in maintenance by an operator.");
  return table(
    "Drains and maintenance",
    ["Of", "What", "By", "When", "Ends", "Reason"],
    rows
      .slice(0, ROWS)
      .map(({ name, service, order, key }) =>
        h(
          "tr",
          { key: `${name} ${key ?? ""}` },
          h("th", { scope: "row" }, h("a", { href: link("service", [service.name]) }, name)),
          h("td", {}, order.what),
          h("td", {}, order.by),
          h("td", {}, moment(order.when)),
          h("td", { title: moment(order.until) }, order.until ? `in ${span(order.until - status.now)}` : "–"),
          h("td", { dir: "auto" }, order.reason),
        ),
      ),
  );
}

function adopting(state, draw, edit, again) {
  const path = `api/overrides/${edit.number}/adopt`;
  return act(state, draw, {
    key: `adopt ${edit.number}`,
    title: "Write to the file",
    detail: "The file says it from then on, with its comments and order as they are:",
    preview: async () => {
      const { value } = await call("POST", path, { query: { dry_run: "true" } });
      return [...value.changed, ...value.notes];
    },
    run: async () => {
      await call("POST", path);
      await again();
    },
  });
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
