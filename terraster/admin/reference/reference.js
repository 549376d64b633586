// Shows /openapi.json. Texts become text nodes, never markup.
"use strict";

const METHODS = ["get", "post", "put", "patch", "delete"];

function make(tag, attributes, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children.filter((child) => child !== null));
  return element;
}

function resolved(schema, whole) {
  if (!schema || !schema.$ref) return schema || {};
  return schema.$ref.slice(2).split("/").reduce((value, part) => value[part], whole);
}

function kind(schema, whole) {
  if (schema.$ref) return kind(resolved(schema, whole), whole);
  if (schema.anyOf) return schema.anyOf.map((one) => kind(one, whole)).join(" or ");
  if (schema.enum) return schema.enum.map((one) => JSON.stringify(one)).join(", ");
  if (schema.const !== undefined) return JSON.stringify(schema.const);
  if (schema.type === "array") return `list of ${kind(schema.items || {}, whole)}`;
  const bounds = [];
  if (schema.minimum !== undefined) bounds.push(`at least ${schema.minimum}`);
  if (schema.maximum !== undefined) bounds.push(`at most ${schema.maximum}`);
  if (schema.maxLength !== undefined) bounds.push(`at most ${schema.maxLength} characters`);
  return [schema.type || "any value", ...bounds].join(", ");
}

function table(rows) {
  const body = rows.map(([name, type, words]) => make("tr", {}, make("td", {}, make("code", {}, name)), make("td", {}, type), make("td", {}, words)));
  const head = make("tr", {}, ...["Name", "Type", "Meaning"].map((word) => make("th", { scope: "col" }, word)));
  return make("table", {}, make("thead", {}, head), make("tbody", {}, ...body));
}

function members(schema, whole, depth) {
  const found = resolved(schema, whole);
  const rows = [];
  for (const [name, own] of Object.entries(found.properties || {})) {
    const needed = (found.required || []).includes(name) ? "" : "?";
    rows.push([name + needed, kind(own, whole), own.description || resolved(own, whole).description || ""]);
    const inner = own.type === "array" ? own.items || {} : own;
    if (depth < 2 && inner.$ref) rows.push(...members(inner, whole, depth + 1).map(([below, ...rest]) => [`${name}.${below}`, ...rest]));
  }
  return rows;
}

function part(title, rows) {
  return rows.length ? make("section", {}, make("h3", {}, title), table(rows)) : null;
}

function shown(path, method, one, whole) {
  const role = one["x-role"] || "open";
  const parameters = (one.parameters || []).map((own) => [own.name + (own.required ? "" : "?"), kind(own.schema, whole), own.description || own.in]);
  const body = one.requestBody ? members(one.requestBody.content["application/json"].schema, whole, 0) : [];
  const answers = Object.entries(one.responses).map(([status, own]) => [status, Object.keys(own.content || {}).join(", "), own.description]);
  const success = Object.entries(one.responses).find(([status]) => status < "300");
  const content = success && success[1].content && success[1].content["application/json"];
  const name = make("summary", {},
    make("span", { class: `method ${method.toUpperCase()}` }, method.toUpperCase()), make("span", { class: "path" }, path),
    make("span", { class: "role" }, role), make("span", { class: "note" }, one.summary));
  const inside = make("div", {}, one.description ? make("p", {}, one.description) : null, part("Parameters", parameters), part("Body", body),
    part("Answer", content ? members(content.schema, whole, 0) : []), part("Statuses", answers));
  const text = [path, method, role, one.summary, one.operationId, ...one.tags].join(" ").toLowerCase();
  return make("details", { id: one.operationId, "data-text": text }, name, inside);
}

function find(words) {
  const wanted = words.toLowerCase().split(/\s+/).filter(Boolean);
  for (const section of document.querySelectorAll("main > section")) {
    let seen = 0;
    for (const one of section.querySelectorAll("details")) {
      one.hidden = !wanted.every((word) => one.dataset.text.includes(word));
      seen += one.hidden ? 0 : 1;
    }
    section.hidden = !seen;
  }
}

async function start() {
  const about = document.getElementById("about");
  try {
    const answer = await fetch("/openapi.json");
    if (!answer.ok) throw new Error(`${answer.status} ${answer.statusText}`);
    const whole = await answer.json();
    about.textContent = `Version ${whole.info.version}. ${whole.info.description}`;
    for (const { name } of whole.tags) {
      const section = make("section", {}, make("h2", {}, name));
      for (const [path, methods] of Object.entries(whole.paths)) {
        for (const method of METHODS) {
          if (methods[method] && methods[method].tags.includes(name)) section.append(shown(path, method, methods[method], whole));
        }
      }
      document.getElementById("operations").append(section);
    }
    document.getElementById("find").addEventListener("input", (event) => find(event.target.value));
    const named = location.hash && document.getElementById(location.hash.slice(1));
    if (named) {
      named.open = true;
      named.scrollIntoView();
    }
  } catch (error) {
    about.textContent = `The document could not be read: ${error.message}`;
  }
}

start();
