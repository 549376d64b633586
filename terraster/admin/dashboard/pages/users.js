// Who may use the API: users with their roles, and what an administrator does with them.

import { call } from "../api.js";
import { h } from "../dom.js";
import { moment, span } from "../format.js";
import { loaded } from "../loaded.js";
import { act, table } from "../parts.js";

export function users(state, { draw }) {
  const { value, failure, again } = loaded(state, "users", "api/auth/users", { limit: 500 }, draw);
  const doing = (title, detail, method, path, body) =>
    act(state, draw, {
      key: `${title} ${path}`,
      title,
      detail,
      run: async () => {
        const headers = method === "PATCH" || method === "DELETE" ? { "If-Match": (await call("GET", path)).etag } : {};
        await call(method, path, { body, headers });
        await again();
      },
    });
  return [
    h("h1", {}, "Users"),
    failure ? h("p", { class: "banner", role: "alert" }, failure) : null,
    value
      ? table(
          "Users",
          ["User", "Role", "State", "Sessions", "Tokens", "Password set", "Actions"],
          value.items.map((one) => row(one, doing)),
        )
      : null,
    h("p", { class: "quiet" }, "On the host: ", h("code", {}, "terrasterctl user add NAME --role reader")),
  ];
}

function row(one, doing) {
  const path = `api/auth/users/${encodeURIComponent(one.name)}`;
  const marks = [
    one.disabled ? "disabled" : null,
    one.locked ? `locked for ${span(one.locked)}` : null,
    one.expired ? "password expired" : null,
  ].filter(Boolean);
  return h(
    "tr",
    { key: one.name },
    h("th", { scope: "row" }, one.name),
    h("td", {}, one.role),
    h("td", {}, marks.length ? marks.map((text) => h("span", { class: "mark warn" }, text)) : h("span", { class: "mark good" }, "active")),
    h("td", { class: "number" }, one.sessions),
    h("td", { class: "number" }, one.tokens),
    h("td", {}, moment(one.changed)),
    h(
      "td",
      { class: "acts" },
      one.disabled
        ? doing(`Enable ${one.name}`, "", "PATCH", path, { disabled: false })
        : doing(`Disable ${one.name}`, "All its sessions and tokens end.", "PATCH", path, { disabled: true }),
      one.locked ? doing(`Unlock ${one.name}`, "", "POST", `${path}/unlock`) : null,
      one.sessions ? doing(`Log ${one.name} out`, "All its sessions end.", "POST", `${path}/logout`) : null,
    ),
  );
}
