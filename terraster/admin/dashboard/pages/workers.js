// The processes, and what they have left of descriptors.

import { h } from "../dom.js";
import { count, short, span } from "../format.js";
import { table } from "../parts.js";

export function workers(state) {
  const { status } = state;
  const descriptors = new Map(status.saturation.descriptors.map((one) => [one.pid, one]));
  return [
    h("h1", {}, "Workers"),
    h("p", { class: "quiet" }, `master ${status.pid}; ${count(status.restarts, "replaced worker")} since the start`),
    table(
      "Workers",
      ["Process", "State", "Generation", "Connections", "Requests", "Descriptors", "Age"],
      status.workers.map((worker) => row(worker, descriptors.get(worker.pid), status)),
    ),
    h("h2", {}, "Saturation"),
    h(
      "dl",
      { class: "figures" },
      [
        ["Requests that wait in queues", status.saturation.queued],
        ["Errors of accept", status.saturation.accept_errors],
        ["Idle clients ended for want of descriptors", status.saturation.idle_clients_ended],
        ["Lost log lines", status.saturation.log_lines_lost],
      ].map(([name, number]) => h("div", {}, h("dt", {}, name), h("dd", { class: number ? "bad" : "" }, short(number)))),
    ),
  ];
}

function row(worker, descriptors, status) {
  const [tone, word] = worker.responding
    ? worker.draining
      ? ["warn", "drains"]
      : worker.full
        ? ["bad", "full"]
        : ["good", worker.state]
    : ["bad", "does not respond"];
  return h(
    "tr",
    { key: worker.pid },
    h("th", { scope: "row" }, `${worker.role} ${worker.pid}`),
    h("td", {}, h("span", { class: `mark ${tone}` }, word), worker.responding ? null : ` for ${span(worker.silent)}`),
    h("td", { class: `number${worker.generation === status.generation ? "" : " bad"}` }, worker.generation),
    h("td", { class: "number" }, short(worker.connections)),
    h("td", { class: "number" }, short(worker.requests)),
    h("td", { class: "number" }, descriptors ? `${descriptors.open} of ${descriptors.limit ?? "–"}` : "–"),
    h("td", { class: "number" }, worker.age === null ? "–" : span(worker.age)),
  );
}
