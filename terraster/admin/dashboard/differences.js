// What differs between two values of the audit log, in words.

import { moment } from "./format.js";

const MOMENT = /^(when|until|since|expires|created|changed|last_used|begins|ends)$/; // members whose numbers are seconds since 1970
const EPOCH = 1e9; // a number below it is a duration

// A line for each member that differs. One that was or becomes null is left out on that side.
export function differences(before, after) {
  const one = new Map(members(before, ""));
  const other = new Map(members(after, ""));
  return [...new Set([...one.keys(), ...other.keys()])]
    .filter((name) => JSON.stringify(one.get(name)) !== JSON.stringify(other.get(name)))
    .map((name) => {
      const [old, now] = [words(name, one.get(name)), words(name, other.get(name))];
      const said = old === "" ? now : `${old} → ${now || "none"}`;
      return name ? `${name}: ${said}` : said;
    });
}

// Members of members as one list: "order.reason" and its value. What says nothing is left out.
function members(value, name) {
  if (value === null || value === undefined || value === "") return [];
  if (Array.isArray(value)) return value.length ? [[name, value]] : [];
  if (typeof value !== "object") return [[name, value]];
  return Object.entries(value).flatMap(([key, inner]) => members(inner, name ? `${name}.${key}` : key));
}

function words(name, value) {
  if (value === undefined) return "";
  if (Array.isArray(value)) return value.map((one) => (typeof one === "string" ? one : JSON.stringify(one))).join("; ");
  if (typeof value === "number" && value > EPOCH && MOMENT.test(name.split(".").at(-1))) return moment(value);
  return String(value);
}
