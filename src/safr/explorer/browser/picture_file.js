// Makes a file of a picture, as SVG or PNG: with its title, its key, and its styles written into it, so that it says what
// it shows and looks the same outside this page.

import { byId, element, svgElement } from "./elements.js";

const STYLE_PROPERTIES = [
  "fill",
  "fill-opacity",
  "stroke",
  "stroke-width",
  "stroke-dasharray",
  "stroke-opacity",
  "opacity",
  "font-family",
  "font-size",
  "font-weight",
  "text-anchor",
  "dominant-baseline",
  "paint-order",
  "image-rendering",
];
const PNG_SCALE = 2;
const MARGIN = 10;
const TITLE_HEIGHT = 26;
const LINE_HEIGHT = 17; // of the key
const LETTER_WIDTH = 6.4; // average width of a letter of the key
const SWATCH_WIDTH = 28;
const MIN_WIDTH = 320;

export function makeSvgFile(picture, title) {
  const copy = picture.cloneNode(true);
  writeStyles(picture, copy);
  for (const node of [copy, ...copy.querySelectorAll("*")])
    for (const name of ["class", "role", "tabindex", "aria-label", "aria-pressed", "style"]) node.removeAttribute(name);
  for (const control of copy.querySelectorAll("[data-control]")) control.remove();
  const [left, top, pictureWidth, pictureHeight] = picture.getAttribute("viewBox").split(" ").map(Number);
  const width = Math.max(pictureWidth, MIN_WIDTH) + 2 * MARGIN;
  const x = left - MARGIN;
  const { color, backgroundColor, fontFamily } = getComputedStyle(byId("sentence"));
  const look = { fill: color, "font-family": fontFamily, "font-size": 12 };
  const keyTop = top + pictureHeight + LINE_HEIGHT;
  const key = drawKeyLines(picture, { x: left, y: keyTop, width: width - 2 * MARGIN, look });
  const height = TITLE_HEIGHT + pictureHeight + key.lines * LINE_HEIGHT + MARGIN;
  copy.prepend(
    svgElement("title", {}, title),
    svgElement("rect", { x, y: top - TITLE_HEIGHT, width, height, fill: backgroundColor }),
    svgElement("text", { ...look, x: left, y: top - 9, "font-size": 14, "font-weight": 600 }, title),
  );
  copy.append(...key.nodes);
  copy.setAttribute("viewBox", [x, top - TITLE_HEIGHT, width, height].join(" "));
  copy.setAttribute("width", width);
  copy.setAttribute("height", height);
  return new XMLSerializer().serializeToString(copy);
}

export async function makePngFile(picture, title) {
  const image = new Image();
  image.src = `data:image/svg+xml;charset=utf-8,${encodeURIComponent(makeSvgFile(picture, title))}`;
  await image.decode();
  const canvas = element("canvas", { width: PNG_SCALE * image.width, height: PNG_SCALE * image.height });
  canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
  return new Promise((resolve) => {
    canvas.toBlob(resolve, "image/png");
  });
}

function writeStyles(original, copy) {
  const originals = [original, ...original.querySelectorAll("*")];
  [copy, ...copy.querySelectorAll("*")].forEach((node, index) => {
    const style = getComputedStyle(originals[index]);
    for (const name of STYLE_PROPERTIES) node.setAttribute(name, writeColour(style.getPropertyValue(name)));
  });
}

// Mixed colours as all programs read them, and not only browsers.
function writeColour(value) {
  const mixed = /^color\(srgb ([\d.e-]+) ([\d.e-]+) ([\d.e-]+)\)$/.exec(value);
  return mixed ? `rgb(${mixed.slice(1).map((share) => Math.round(255 * share)).join(", ")})` : value;
}

// The section's key as lines of text with its swatches and colours.
function drawKeyLines(picture, { x: left, y: top, width, look }) {
  const key = picture.closest("section")?.querySelector("[data-key]");
  const nodes = [];
  let [x, line] = [left, 0];
  for (const { node, text } of key ? listParts(key) : []) {
    const size = node ? SWATCH_WIDTH : LETTER_WIDTH * [...text].length;
    if (x > left && x + size > left + width) [x, line] = [left, line + 1];
    const y = top + line * LINE_HEIGHT;
    if (node) nodes.push(copySwatch(node, x, y - 4));
    else nodes.push(svgElement("text", { ...look, x, y }, text));
    x += size + LETTER_WIDTH * 0.7;
  }
  return { nodes, lines: nodes.length ? line + 1.5 : 0 };
}

// Words and swatches, in their order. An explained term is a part of its sentence.
function listParts(key) {
  const parts = [];
  for (const child of key.childNodes) {
    if (child instanceof SVGElement) parts.push({ node: child });
    else if (parts.length && !parts.at(-1).node) parts.at(-1).text += child.textContent;
    else parts.push({ text: child.textContent });
  }
  const split = ({ text }) => text.split(/\s+/).filter(Boolean).map((word) => ({ text: word }));
  return parts.flatMap((part) => (part.node ? [part] : split(part)));
}

function copySwatch(swatch, x, y) {
  const copy = swatch.cloneNode(true);
  writeStyles(swatch, copy);
  const group = svgElement("g", { transform: `translate(${x.toFixed(1)} ${(y - 4).toFixed(1)})` }, ...copy.childNodes);
  for (const node of group.querySelectorAll("*")) node.removeAttribute("class");
  return group;
}
