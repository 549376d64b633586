// What several pages show.

import { h } from "./dom.js";
import { moment, span } from "./format.js";

const MOST = 100; // problems in one list

// The mark of a backend's state: a word beside the colour, for those who do not tell colours apart.
const STATES = {
  up: ["good", "up"],
  down: ["bad", "down"],
  ejected: ["bad", "ejected"],
  draining: ["warn", "draining"],
  maintenance: ["warn", "maintenance"],
};

export function stateMark(backend) {
  const [tone, word] = STATES[backend.state] ?? [backend.up ? "good" : "bad", backend.state];
  return h("span", { class: `mark ${tone}` }, word);
}

// One dot for each backend of a service, if they are few, else two numbers.
export function backendDots(service) {
  const backends = service.locations.flatMap((location) => location.backends);
  const up = backends.filter((backend) => backend.up).length;
  const text = `${up} of ${backends.length} up`;
  if (!backends.length) return h("span", { class: "quiet" }, "none");
  if (backends.length > 12) return h("span", { class: up < backends.length ? "bad" : "" }, text);
  return h(
    "span",
    { class: "dots", role: "img", "aria-label": text, title: text },
    backends.map((backend) => h("i", { class: backend.up ? "good" : (STATES[backend.state]?.[0] ?? "bad") })),
    ` ${up}/${backends.length}`,
  );
}

// A table that may be wider than the page. heads: the names of the columns; "" = a plot.
export function table(name, heads, rows) {
  return h(
    "div",
    { class: "scroll", tabindex: 0, role: "region", "aria-label": name },
    h(
      "table",
      {},
      h(
        "thead",
        {},
        h(
          "tr",
          {},
          heads.map((text) => h("th", { scope: "col" }, text || h("span", { class: "hidden" }, "plot"))),
        ),
      ),
      h("tbody", {}, rows),
    ),
  );
}

// A field that narrows what is shown. change: is called with the text; known: texts that are offered
export function search(label, value, change, known = []) {
  const list = known.length ? `known-${label.toLowerCase()}` : null;
  return h(
    "label",
    { class: "filter", key: `search ${label}` },
    `${label} `,
    h("input", { type: "search", value, list, maxlength: 500, oninput: (happened) => change(happened.target.value) }),
    list
      ? h(
          "datalist",
          { id: list },
          known.map((text) => h("option", { value: text })),
        )
      : null,
  );
}

// One of several values. values: [[value, words]]
export function choice(label, value, values, change) {
  return h(
    "label",
    { class: "filter", key: `choice ${label}` },
    `${label} `,
    h(
      "select",
      { onchange: (happened) => change(happened.target.value) },
      values.map(([one, words]) => h("option", { value: one, selected: one === value }, words)),
    ),
  );
}

// Problems of the status document, the worst first. now: seconds since 1970.
export function problemList(problems, now) {
  if (!problems.length) return null;
  return h(
    "ol",
    { class: "problems", "aria-label": "Problems" },
    problems.slice(0, MOST).map((one) => {
      const where = `${one.service ?? ""}${one.location ?? ""}`;
      const named = one.backend ? `${one.backend_name || one.backend} of ${where}` : where;
      return h(
        "li",
        {},
        h("span", { class: "kind" }, one.kind),
        " ",
        one.service ? [h("a", { href: `#/service/${encodeURIComponent(one.service)}` }, named), ": "] : null,
        one.backend && !one.service ? `${one.backend_name || one.backend}: ` : null,
        one.text,
        one.since ? h("span", { class: "quiet", title: moment(one.since) }, `, for ${span(now - one.since)}`) : null,
        one.until ? h("span", { class: "quiet", title: moment(one.until) }, `, ends in ${span(one.until - now)}`) : null,
      );
    }),
    problems.length > MOST ? h("li", { class: "quiet" }, `and ${problems.length - MOST} more`) : null,
  );
}

// True if the caller may change something: operators and administrators.
export const mayAct = (state) => state.caller?.role === "operator" || state.caller?.role === "admin";

export const REASON = { name: "reason", label: "Reason", type: "text", maxlength: 500 };
export const UNTIL = { name: "for", label: "For (such as 30m; empty: until it is ended)", type: "text", maxlength: 20 };

// A button that asks before it acts. key: tells it from others with the same title; title: what it does, as on the button; detail: what that
// means; fields: of the form, as { name, label, type, value, placeholder }; preview: gives lines that are shown when the form opens; run:
// takes the values of the fields, and raises what is shown. One form is open at a time.
export function act(state, draw, { key, title, detail = "", fields = [], preview, run }) {
  const here = state.form.act?.key === key ? state.form.act : null;
  const close = () => {
    state.form.act = null;
    draw();
    leave(key);
  };
  const open = async () => {
    const form = (state.form.act = { key, failure: "", busy: Boolean(preview), lines: null });
    draw();
    document.querySelector("form.act")?.querySelector("input, button:not(:disabled)")?.focus();
    if (!preview) return;
    try {
      form.lines = await preview();
    } catch (error) {
      form.failure = error.message;
    }
    form.busy = false;
    draw();
  };
  if (!here) return h("button", { type: "button", class: "plain", "data-act": key, onclick: open }, title);
  const send = async (happened) => {
    happened.preventDefault();
    const values = Object.fromEntries(new FormData(happened.target));
    here.busy = true;
    here.failure = "";
    draw();
    try {
      await run(values);
      if (state.form.act === here) close();
    } catch (error) {
      here.failure = error.message;
      here.busy = false;
    }
    draw();
  };
  return h(
    "form",
    { class: "act", key, onsubmit: send, onkeydown: (happened) => happened.key === "Escape" && close() },
    h("strong", {}, title),
    detail ? h("p", { class: "small" }, detail) : null,
    here.lines
      ? h(
          "ul",
          { class: "small" },
          here.lines.slice(0, 30).map((text) => h("li", {}, text)),
        )
      : null,
    fields.map(({ label, ...given }) => h("label", {}, `${label} `, h("input", given))),
    here.failure ? h("p", { class: "bad small", role: "alert" }, here.failure) : null,
    h(
      "p",
      { class: "row" },
      h("button", { type: "submit", disabled: here.busy }, "Confirm"),
      h("button", { type: "button", class: "plain", onclick: close }, "Cancel"),
    ),
  );
}

// The focus goes back to the button that opened the form, or to the page if the button has gone.
function leave(key) {
  const buttons = [...document.querySelectorAll("[data-act]")];
  (buttons.find((one) => one.dataset.act === key) ?? document.getElementById("main")).focus({ preventScroll: true });
}
