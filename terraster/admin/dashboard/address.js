// The address of what is shown, so that it can be shared: #/PAGE/PART?NAME=VALUE. Filters are in it, too.

export function address() {
  const [path, query = ""] = location.hash.replace(/^#/, "").split(/\?(.*)/s);
  const [, name = "", ...parts] = path.split("/");
  return { name, path, parts: parts.filter((part) => part !== "").map(decoded), query: new URLSearchParams(query) };
}

function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text; // a percent sign that somebody typed
  }
}

// The address of a page. Values that are empty are left out.
export function link(name, parts = [], query = {}) {
  const words = new URLSearchParams(Object.entries(query).filter(([, value]) => value));
  return `#/${[name, ...parts.map(encodeURIComponent)].join("/")}${words.size ? `?${words}` : ""}`;
}

// Change values of the address; the page stays. An empty value goes.
export function put(values) {
  const { path, query } = address();
  for (const [name, value] of Object.entries(values)) {
    if (value) query.set(name, value);
    else query.delete(name);
  }
  history.replaceState(null, "", `#${path || "/"}${query.size ? `?${query}` : ""}`);
}
