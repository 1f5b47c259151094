// Builds HTML and SVG elements from a tag, attributes and children. Texts become text nodes and are never read as HTML.

const SVG_NAMESPACE = "http://www.w3.org/2000/svg";

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

// A function as an attribute's value becomes a listener for the event of that name.
function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (typeof value === "function") node.addEventListener(name, value);
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return node;
}
