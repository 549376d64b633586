// Certificates in use, those that end soonest first, and orders for new ones.

import { h } from "../dom.js";
import { moment, span } from "../format.js";
import { table } from "../parts.js";

const TONES = { valid: "good", expiring: "warn", expired: "bad", "not-yet-valid": "bad" };

export function certificates(state) {
  const { status } = state;
  return [
    h("h1", {}, "Certificates"),
    status.certificates.length
      ? table(
          "Certificates",
          ["Names", "Service", "State", "Ends", "Issuer", "File"],
          status.certificates.map((one) =>
            h(
              "tr",
              { key: `${one.service} ${one.name}` },
              h("th", { scope: "row" }, one.names.join(", ")),
              h("td", {}, one.service),
              h(
                "td",
                {},
                h("span", { class: `mark ${TONES[one.state] ?? "warn"}` }, one.state),
                one.problem ? h("div", { class: "small bad" }, one.problem) : null,
              ),
              h(
                "td",
                { title: moment(one.expires) },
                one.expires > status.now ? `in ${span(one.expires - status.now)}` : `${span(status.now - one.expires)} ago`,
              ),
              h("td", {}, one.issuer),
              h("td", { class: "small" }, one.file),
            ),
          ),
        )
      : h("p", {}, "No service speaks TLS."),
    status.certificate_orders.length
      ? [
          h("h2", {}, "Orders"),
          table(
            "Orders",
            ["Names", "Authority", "Challenge", "State", "Next try"],
            status.certificate_orders.map((one) =>
              h(
                "tr",
                { key: one.service },
                h("th", { scope: "row" }, one.names.join(", ")),
                h("td", {}, one.authority),
                h("td", {}, one.challenge),
                h("td", {}, one.state, one.last_error ? h("div", { class: "small bad" }, one.last_error) : null),
                h("td", { title: moment(one.next) }, one.next ? `in ${span(one.next - status.now)}` : "–"),
              ),
            ),
          ),
        ]
      : null,
  ];
}
