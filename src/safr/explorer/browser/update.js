// Updates what a container shows in place. A node that is there already stays, with its focus, scroll and motion.

import { getKey, takeListeners } from "./elements.js";

// Makes the children of the container like `nodes`. A node with a key becomes the child of that key; any other becomes
// the next child of its tag. Children that nothing becomes are removed. Of a node that is there already only what
// differs is changed, so listeners must reach other nodes through `event.currentTarget`, and not by a variable that
// holds a node of their own drawing.
export function update(container, ...nodes) {
  const wanted = nodes.flat().filter((node) => node !== null && node !== undefined);
  updateChildren(
    container,
    wanted.map((node) => (typeof node === "string" ? document.createTextNode(node) : node)),
  );
}

function updateChildren(parent, nodes) {
  const keyed = new Map([...parent.childNodes].filter(getKey).map((child) => [getKey(child), child]));
  let place = parent.firstChild; // the next child to be made like a node
  for (const node of nodes) {
    const key = getKey(node);
    const child = key ? keyed.get(key) : findUnkeyed(place, node);
    if (!child || child.nodeName !== node.nodeName) {
      parent.insertBefore(node, place);
      continue;
    }
    keyed.delete(key);
    if (child === place) place = place.nextSibling;
    else parent.insertBefore(child, place);
    if (child !== node) patch(child, node);
  }
  while (place) {
    const child = place;
    place = place.nextSibling;
    child.remove();
  }
}

function findUnkeyed(place, node) {
  let child = place;
  while (child && (getKey(child) || child.nodeName !== node.nodeName)) child = child.nextSibling;
  return child;
}

function patch(child, node) {
  if (child.nodeType !== Node.ELEMENT_NODE) {
    if (child.data !== node.data) child.data = node.data;
    return;
  }
  for (const { name } of [...child.attributes]) if (!node.hasAttribute(name)) child.removeAttribute(name);
  for (const { name, value } of [...node.attributes])
    if (child.getAttribute(name) === value) continue;
    else if (name === "style") child.style.cssText = value; // the page's policy forbids the attribute
    else child.setAttribute(name, value);
  takeListeners(child, node);
  updateChildren(child, [...node.childNodes]);
}
