// Who are you? The answer is a cookie that no script can read.

import { call } from "../api.js";
import { h } from "../dom.js";

export function login(state, enter) {
  const form = (state.form.login ??= { failure: "" });
  const send = async (happened) => {
    happened.preventDefault();
    const [name, password] = [happened.target.elements.username, happened.target.elements.password];
    const button = happened.target.elements.send;
    button.disabled = true;
    form.failure = "";
    try {
      await call("POST", "api/auth/login", { body: { username: name.value, password: password.value, cookie: true } });
      password.value = "";
      enter();
    } catch (error) {
      form.failure = error.message;
      happened.target.querySelector("[role=alert]").textContent = error.message;
    }
    button.disabled = false;
  };
  return h(
    "form",
    { class: "stack login", onsubmit: send },
    h("h1", {}, "Log in"),
    h("label", {}, "User ", h("input", { type: "text", name: "username", autocomplete: "username", required: true, autocapitalize: "none" })),
    h("label", {}, "Password ", h("input", { type: "password", name: "password", autocomplete: "current-password", required: true })),
    h("button", { type: "submit", name: "send" }, "Log in"),
    h("p", { class: "bad", role: "alert" }, form.failure),
    state.reason ? h("p", { class: "quiet" }, state.reason) : null,
    h("p", { class: "quiet" }, "The first user is made on the host: ", h("code", {}, "terrasterctl user add NAME --role admin")),
  );
}
