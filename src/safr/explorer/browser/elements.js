// Builds HTML and SVG elements from a tag, attributes and children. Texts become text nodes and are never read as HTML.

const SVG_NAMESPACE = "http://www.w3.org/2000/svg";

const keys = new WeakMap(); // by node, what it is about, as long as the page is open
const listenersOfNodes = new WeakMap(); // by node, its listeners by the event's name

export function element(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

export function svgElement(tag, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG_NAMESPACE, tag), attributes, children);
}

export function byId(id) {
  return document.getElementById(id);
}

export function setOptions(select, choices, value) {
  select.replaceChildren(...choices.map(([choice, label]) => element("option", { value: choice }, label)));
  select.value = value;
}

export function getKey(node) {
  return keys.get(node) ?? null;
}

// Adds a listener that `update` hands on, if another drawing of the node takes its place.
export function listen(node, name, listener) {
  const listeners = listenersOfNodes.get(node) ?? new Map();
  listenersOfNodes.set(node, listeners);
  if (!listeners.has(name)) node.addEventListener(name, callListeners);
  listeners.set(name, [...(listeners.get(name) ?? []), listener]);
}

// Gives a node the listeners of another, in place of its own.
export function takeListeners(node, other) {
  const before = listenersOfNodes.get(node) ?? new Map();
  const after = listenersOfNodes.get(other) ?? new Map();
  for (const name of before.keys()) if (!after.has(name)) node.removeEventListener(name, callListeners);
  for (const name of after.keys()) if (!before.has(name)) node.addEventListener(name, callListeners);
  listenersOfNodes.set(node, after);
}

function callListeners(event) {
  for (const listener of listenersOfNodes.get(event.currentTarget).get(event.type)) listener(event);
}

// A function as an attribute's value becomes a listener for the event of that name. The `key` says what a node is
// about, so that the next drawing of the same is found again.
function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "key") keys.set(node, String(value));
    else if (typeof value === "function") listen(node, name, value);
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return node;
}
