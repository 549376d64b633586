// "Why did this request go there?": what Terraster would do with a request, decided by the code of traffic.

import { put } from "../address.js";
import { read } from "../api.js";
import { h } from "../dom.js";

// The request and the client are in the address. The header fields are not: they may have secrets.
export function explain(state, { query, draw }) {
  const form = (state.form.explain ??= { request: "GET http://localhost/", client: "", headers: "", answer: null, failure: "", asked: "" });
  const ask = async (happened) => {
    happened?.preventDefault();
    put({ request: form.request, client: form.client });
    form.asked = `${form.request} ${form.client}`;
    form.failure = "";
    try {
      const headers = form.headers
        .split("\n")
        .map((line) => line.trim())
        .filter(Boolean);
      form.answer = await read("api/explain", { request: form.request, client: form.client, headers: headers.join("\n") });
    } catch (error) {
      form.answer = null;
      form.failure = error.message;
    }
    draw();
  };
  const shared = { request: query.get("request"), client: query.get("client") ?? "" };
  if (shared.request && form.asked !== `${shared.request} ${shared.client}`) {
    Object.assign(form, shared);
    ask();
  }
  const field = (name) => ({ value: form[name], oninput: (happened) => (form[name] = happened.target.value) });
  return [
    h("h1", {}, "Explain"),
    h(
      "form",
      { class: "stack", onsubmit: ask },
      h("label", {}, "Request ", h("input", { type: "text", required: true, spellcheck: "false", ...field("request") })),
      h("label", {}, "Client address ", h("input", { type: "text", placeholder: "127.0.0.1", ...field("client") })),
      h("label", {}, "Header fields, one a line ", h("textarea", { rows: 3, spellcheck: "false", ...field("headers") })),
      h("button", { type: "submit" }, "Explain"),
    ),
    form.failure ? h("p", { class: "banner", role: "alert" }, form.failure) : null,
    form.answer ? h("pre", { tabindex: 0 }, form.answer.text) : null,
  ];
}
