// Who are you? The answer is a cookie that no script can read.

import { call } from "../api.js";
import { h } from "../dom.js";

export function login(state, draw, enter) {
  const form = (state.form.login ??= { failure: "", busy: false, expired: false });
  const send = async (happened) => {
    happened.preventDefault();
    const { username, password, fresh } = happened.target.elements;
    form.busy = true;
    form.failure = "";
    draw();
    try {
      if (form.expired) {
        await call("POST", "api/auth/change-password", { body: { old_password: password.value, new_password: fresh.value } });
        password.value = fresh.value;
        form.expired = false;
      }
      const { value } = await call("POST", "api/auth/login", {
        body: { username: username.value, password: password.value, cookie: true },
      });
      form.expired = value.password_expired;
      if (!form.expired) {
        state.form = {};
        enter();
      }
    } catch (error) {
      form.failure = error.message;
    }
    form.busy = false;
    draw();
  };
  return h(
    "form",
    { class: "stack login", onsubmit: send },
    h("h1", {}, "Log in"),
    h(
      "label",
      {},
      "User ",
      h("input", { type: "text", name: "username", autocomplete: "username", required: true, autocapitalize: "none" }),
    ),
    h("label", {}, "Password ", h("input", { type: "password", name: "password", autocomplete: "current-password", required: true })),
    form.expired
      ? h(
          "label",
          {},
          "The password has expired. New password ",
          h("input", { type: "password", name: "fresh", autocomplete: "new-password", required: true }),
        )
      : null,
    h("button", { type: "submit", name: "send", disabled: form.busy }, "Log in"),
    h("p", { class: "bad", role: "alert" }, form.failure),
    h("p", { class: "quiet" }, "The first user is made on the host: ", h("code", {}, "terrasterctl user add NAME --role admin")),
  );
}
