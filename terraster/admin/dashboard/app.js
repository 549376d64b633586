// The dashboard: which page is shown, and the state that comes every two seconds.

import { address } from "./address.js";
import { Refused, call, stream } from "./api.js";
import { h, show } from "./dom.js";
import { count } from "./format.js";
import { Samples } from "./samples.js";
import { overview } from "./pages/overview.js";
import { servicePage } from "./pages/service.js";
import { events } from "./pages/events.js";
import { generations } from "./pages/generations.js";
import { limits } from "./pages/limits.js";
import { requests } from "./pages/requests.js";
import { workers } from "./pages/workers.js";
import { certificates } from "./pages/certificates.js";
import { plugins } from "./pages/plugins.js";
import { changes } from "./pages/changes.js";
import { audit } from "./pages/audit.js";
import { users } from "./pages/users.js";
import { explain } from "./pages/explain.js";
import { login } from "./pages/login.js";

const AGAIN = 2000; // milliseconds before the stream is asked for again, and between two looks at whether it goes on
const LATE = 10; // seconds after which the page says that what it shows is old

const PAGES = [
  { name: "", title: "Overview", page: overview, inMenu: true },
  { name: "service", title: "Service", page: servicePage },
  { name: "events", title: "Events", page: events, inMenu: true },
  { name: "requests", title: "Requests", page: requests, inMenu: true },
  { name: "certificates", title: "Certificates", page: certificates, inMenu: true },
  { name: "workers", title: "Workers", page: workers, inMenu: true },
  { name: "limits", title: "Limits", page: limits, inMenu: true },
  { name: "plugins", title: "Plugins", page: plugins, inMenu: true },
  { name: "changes", title: "Overrides", page: changes, inMenu: true },
  { name: "generations", title: "Generations", page: generations, inMenu: true },
  { name: "audit", title: "Audit", page: audit, inMenu: true },
  { name: "users", title: "Users", page: users, inMenu: true },
  { name: "explain", title: "Explain", page: explain, inMenu: true },
];

const state = { status: null, samples: new Samples(), seen: 0, failure: "", kept: "", caller: null, shown: "", form: {}, loaded: new Map() };
let watching = null; // ends the stream
let ended = false; // true if the last stream was ended by Terraster
let heard = 0; // when something came last, or was asked for

function draw() {
  const { name, path, parts, query } = address();
  const found = PAGES.find((one) => one.name === name);
  if (state.shown !== path) {
    state.shown = path;
    state.loaded.clear();
    Object.assign(state.form, { act: null, told: null, moments: null });
  }
  show(
    document.getElementById("nav"),
    PAGES.filter((one) => one.inMenu && !state.needsLogin).map((one) =>
      h("a", { href: `#/${one.name}`, "aria-current": one.name === name ? "page" : null }, one.title),
    ),
  );
  show(
    document.getElementById("who"),
    state.caller && [
      h("span", {}, `${state.caller.name} (${state.caller.role})`),
      h("button", { type: "button", class: "plain", onclick: leave }, "Log out"),
    ],
  );
  show(document.getElementById("banner"), banner());
  const main = document.getElementById("main");
  if (state.needsLogin) {
    show(main, login(state, draw, enter));
  } else if (!found) {
    show(main, h("h1", {}, "There is no such page"), h("p", {}, h("a", { href: "#/" }, "Overview")));
  } else if (state.status === null) {
    show(main, h("p", { class: "quiet" }, state.failure ? "" : "Loading …"));
  } else {
    show(main, found.page(state, { parts, query, draw }));
  }
  main.dataset.page = location.hash;
  main.setAttribute("aria-busy", [...state.loaded.values()].some((one) => one.busy));
  const problems = state.status?.problems.length ?? 0;
  document.title = `${problems ? `(${problems}) ` : ""}${found?.title ?? "Terraster"} · Terraster`;
}

function banner() {
  if (state.needsLogin) return null;
  return [state.kept ? h("p", { class: "banner", role: "alert" }, state.kept) : null, old()];
}

function old() {
  if (!state.failure) return null;
  const age = state.seen ? Math.round((Date.now() - state.seen) / 1000) : 0;
  const shown = state.status ? ` What is shown is ${count(age, "second")} old.` : "";
  return h("p", { class: "banner" }, `${state.failure}${age >= LATE || !state.status ? shown : ""}`);
}

// Take what comes until the page is hidden or the login is over, and begin again when there is a reason to.
async function watch() {
  watching?.abort();
  const own = (watching = new AbortController());
  while (!own.signal.aborted && !document.hidden && !state.needsLogin) {
    const began = (heard = Date.now());
    try {
      for await (const { name, data } of stream("api/stream", own.signal)) take(name, data);
    } catch (error) {
      if (own.signal.aborted) return;
      if (error instanceof Refused && error.status === 401) {
        forget();
      } else {
        state.failure = error instanceof Refused ? error.message : "Terraster cannot be reached.";
      }
    }
    draw();
    const isOver = ended && Date.now() - began > AGAIN; // of the login, or of Terraster: the next answer says which
    ended = false;
    if (!isOver) await new Promise((done) => setTimeout(done, AGAIN));
  }
}

// A stream may fall silent without an end: its network is gone, or the admin worker hangs.
function tend() {
  if (document.hidden || state.needsLogin) return;
  if (Date.now() - heard >= LATE * 1000) {
    state.failure ||= "Terraster does not answer.";
    watch();
  }
  if (state.failure) draw();
}

function take(name, data) {
  heard = Date.now();
  if (name === "caller") state.caller = data;
  if (name === "ended") ended = true;
  if (name === "failure") state.failure = data.detail;
  if (name === "status") {
    state.status = data;
    state.samples.take(data);
    state.seen = Date.now();
    state.failure = "";
  }
  draw();
}

// The login is over. Another user may come, who may see less.
function forget() {
  state.needsLogin = true;
  state.caller = state.status = null;
  state.kept = "";
  state.samples = new Samples();
  state.loaded.clear();
}

function enter() {
  state.needsLogin = false;
  watch();
}

async function leave() {
  try {
    await call("POST", "api/auth/revoke", { body: {} });
  } catch (error) {
    if (error.status !== 401) {
      // the cookie is good yet, so the next one at this screen would be logged in
      state.kept = `You are still logged in: ${error instanceof Refused ? error.message : "Terraster cannot be reached."}`;
      draw();
      return;
    }
  }
  forget();
  watching?.abort();
  draw();
}

addEventListener("hashchange", () => {
  draw();
  document.getElementById("main").focus({ preventScroll: true });
  scrollTo(0, 0);
});
document.addEventListener("visibilitychange", () => (document.hidden ? watching?.abort() : watch()));
setInterval(tend, AGAIN);
draw();
watch();
