// Making and updating the page. Text from outside only ever becomes a text node, never markup.

const SVG = "http://www.w3.org/2000/svg";
const SOUGHT = new Set(["search", "text", "range"]); // inputs that show a part of the state, which changes elsewhere, too
const SHAPES = new Set(["svg", "path", "line", "rect", "g", "title"]);

// An element. attributes: those that are null, undefined or false are left out; functions named on… listen to the event. children: nodes,
// texts, arrays of them; null and false are left out. key: which element of the next tree is this one.
export function h(name, attributes = {}, ...children) {
  const shape = SHAPES.has(name) && (name !== "title" || attributes.svg);
  const made = shape ? document.createElementNS(SVG, name) : document.createElement(name);
  made.listeners = {};
  for (const [key, value] of Object.entries(attributes)) {
    if (key === "svg" || value === null || value === undefined || value === false) continue;
    if (key === "key") made.key = value;
    else if (typeof value === "function") made.listeners[key.slice(2)] = value;
    else made.setAttribute(key, value === true ? "" : String(value));
  }
  listen(made);
  append(made, children);
  return made;
}

// Each event is listened to once, whatever the element was or will be.
function listen(element) {
  element.heard ??= new Set();
  for (const event of Object.keys(element.listeners)) {
    if (element.heard.has(event)) continue;
    element.heard.add(event);
    element.addEventListener(event, (happened) => element.listeners[event]?.(happened));
  }
}

function append(parent, children) {
  for (const child of children.flat(Infinity)) {
    if (child === null || child === undefined || child === false) continue;
    parent.append(child instanceof Node ? child : document.createTextNode(String(child)));
  }
}

// Make the children of `parent` what `tree` says, and keep the elements that are the same: the focus, a selection and what is being
// typed survive.
export function show(parent, ...tree) {
  const wanted = document.createDocumentFragment();
  append(wanted, tree);
  patchChildren(parent, [...wanted.childNodes]);
}

function patchChildren(parent, wanted) {
  const keyed = new Map();
  for (const child of parent.childNodes) if (child.key !== undefined) keyed.set(child.key, child);
  let at = parent.firstChild;
  for (const next of wanted) {
    const known = next.key === undefined ? at : keyed.get(next.key);
    if (known && alike(known, next)) {
      if (known === at) at = at.nextSibling;
      else parent.insertBefore(known, at);
      patch(known, next);
    } else {
      parent.insertBefore(next, at);
    }
  }
  while (at) {
    const gone = at;
    at = at.nextSibling;
    gone.remove();
  }
}

function alike(known, next) {
  return known.nodeType === next.nodeType && known.nodeName === next.nodeName && known.key === next.key;
}

function patch(known, next) {
  if (known.nodeType === Node.TEXT_NODE) {
    if (known.data !== next.data) known.data = next.data;
    return;
  }
  for (const { name } of [...known.attributes]) {
    if (!next.hasAttribute(name) && !(name === "open" && known.nodeName === "DETAILS")) known.removeAttribute(name);
  }
  for (const { name, value } of next.attributes) {
    if (known.getAttribute(name) === value) continue;
    known.setAttribute(name, value);
    if (name === "value" && SOUGHT.has(known.type) && known !== document.activeElement) known.value = value;
  }
  known.listeners = next.listeners ?? {};
  listen(known);
  if (known.nodeName !== "TEXTAREA") patchChildren(known, [...next.childNodes]);
}
