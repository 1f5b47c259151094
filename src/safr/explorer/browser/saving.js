// Saves pictures and numbers as files, shows numbers as a table, and copies links.

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

const openTables = new Set(); // the tables of numbers that are unfolded, by title

// A menu that saves one picture. `getPicture` gets the panel of the menu and returns the SVG in it; if it is missing,
// only numbers can be saved. `getRows` returns the numbers as a table, and `name` is the name of the files.
export function makeSaveMenu({ name, title, getPicture, getRows }) {
  const buttons = [];
  if (getPicture) {
    buttons.push(
      makeButton("SVG", (panel) => save(`${name}.svg`, makeSvgFile(getPicture(panel), title), "image/svg+xml")),
      makeButton("PNG", async (panel) => download(`${name}.png`, await makePngFile(getPicture(panel), title))),
    );
  }
  buttons.push(makeButton("CSV", () => save(`${name}.csv`, formatCsv(getRows()), "text/csv")));
  buttons.push(makeButton("JSON", () => save(`${name}.json`, formatJson(title, getRows()), "application/json")));
  return element("div", { class: "save", role: "group", "aria-label": `Save ${title}` }, buttons);

  function makeButton(kind, saveAs) {
    const click = (event) => saveAs(event.currentTarget.closest(".panel"));
    return element("button", { type: "button", click, "aria-label": `Save ${title} as ${kind}` }, kind);
  }
}

// The numbers of a picture as a table that can be opened, for people who would rather read them than see the picture.
export function makeTable(title, getRows) {
  const isOpen = openTables.has(title);
  return element(
    "details",
    { class: "numbers", toggle, open: isOpen },
    element("summary", {}, "Table of numbers"),
    isOpen ? fillTable(title, getRows()) : null,
  );

  function toggle({ currentTarget: details }) {
    if (details.open === openTables.has(title)) return;
    if (!openTables.delete(title)) openTables.add(title);
    if (details.open) details.append(fillTable(title, getRows()));
    else details.lastElementChild.remove();
  }
}

function fillTable(title, [head, ...body]) {
  const bodyRows = body.map((row) =>
    element(
      "tr",
      {},
      row.map((value, column) =>
        column ? element("td", {}, formatCell(value)) : element("th", { scope: "row", dir: "auto" }, formatCell(value)),
      ),
    ),
  );
  const heads = head.map((name) => element("th", { scope: "col" }, name));
  return element(
    "div",
    { class: "scroll", tabindex: "0", role: "region", "aria-label": `Numbers of ${title}` },
    element(
      "table",
      {},
      element("caption", { class: "hidden" }, title),
      element("thead", {}, element("tr", {}, heads)),
      element("tbody", {}, bodyRows),
    ),
  );
}

export function formatCsv(rows) {
  // A spreadsheet would run a cell that begins like a formula, so it gets an apostrophe. A dash alone is no formula.
  const formatCsvCell = (value) => {
    const text =
      typeof value === "string" && /^[=+\-@\t\r].*[\p{L}\d(]/su.test(value) ? `'${value}` : formatCell(value);
    return /[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  };
  return `\uFEFF${rows.map((row) => row.map(formatCsvCell).join(",")).join("\r\n")}\r\n`;
}

export function save(name, text, type) {
  download(name, new Blob([text], { type: `${type};charset=utf-8` }));
}

// The picture with its styles written into it, so that it looks the same outside this page.
export function makeSvgFile(picture, title) {
  const copy = picture.cloneNode(true);
  const originals = [picture, ...picture.querySelectorAll("*")];
  [copy, ...copy.querySelectorAll("*")].forEach((node, index) => {
    const style = getComputedStyle(originals[index]);
    for (const name of STYLE_PROPERTIES) node.setAttribute(name, writeColour(style.getPropertyValue(name)));
    for (const name of ["class", "role", "tabindex", "aria-label", "aria-pressed", "style"]) node.removeAttribute(name);
  });
  const [left, top, width, height] = picture.getAttribute("viewBox").split(" ").map(Number);
  for (const control of copy.querySelectorAll("[data-control]")) control.remove();
  const background = getComputedStyle(byId("sentence")).backgroundColor;
  copy.prepend(
    svgElement("title", {}, title),
    svgElement("rect", { x: left, y: top, width, height, fill: background }),
  );
  copy.setAttribute("width", width);
  copy.setAttribute("height", height);
  return new XMLSerializer().serializeToString(copy);
}

// Mixed colours as all programs read them, and not only browsers.
function writeColour(value) {
  const mixed = /^color\(srgb ([\d.e-]+) ([\d.e-]+) ([\d.e-]+)\)$/.exec(value);
  return mixed ? `rgb(${mixed.slice(1).map((share) => Math.round(255 * share)).join(", ")})` : value;
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

export async function copyLink(link) {
  try {
    await navigator.clipboard.writeText(link);
    return true;
  } catch {
    // The browser forbids it, so the link is shown instead, to be copied by hand.
    byId("address").value = link;
    byId("copy").showModal();
    byId("address").select();
    return false;
  }
}

function formatJson(title, [head, ...body]) {
  const rows = body.map((row) => Object.fromEntries(head.map((name, column) => [name, row[column]])));
  return `${JSON.stringify({ title, rows }, null, 2)}\n`;
}

function formatCell(value) {
  return value === null || value === undefined || Number.isNaN(value) ? "" : String(value);
}

function download(name, blob) {
  const address = URL.createObjectURL(blob);
  const file = name.replaceAll(/[^\w.=,+-]+/g, "-");
  const link = element("a", { href: address, download: file });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(address), 10_000);
}
