// Pictures and numbers in, files to take along out.

import { byId, drawn, element } from "./elements.js";

const LOOKS = [
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

// A menu for one picture: `picture` gives its SVG or null, `rows` its numbers as a table, `name` the files' name.
export function saveMenu({ name, title, picture, rows }) {
  const made = [];
  if (picture) {
    made.push(button("SVG", () => save(`${name}.svg`, svgFile(picture(), title), "image/svg+xml")));
    made.push(button("PNG", async () => download(`${name}.png`, await pngFile(picture(), title))));
  }
  made.push(button("CSV", () => save(`${name}.csv`, csv(rows()), "text/csv")));
  made.push(button("JSON", () => save(`${name}.json`, json(title, rows()), "application/json")));
  return element("div", { class: "save", role: "group", "aria-label": `Save ${title}` }, made);

  function button(kind, click) {
    return element("button", { type: "button", click, "aria-label": `Save ${title} as ${kind}` }, kind);
  }
}

// The numbers of a picture, for those who would rather read them than see it.
export function tableOf(title, rows) {
  const details = element("details", { class: "numbers", toggle: filled }, element("summary", {}, "Table of numbers"));
  return details;

  function filled() {
    if (!details.open || details.querySelector("table")) return;
    const [head, ...body] = rows();
    const cells = body.map((row) =>
      element(
        "tr",
        {},
        row.map((cell, place) =>
          place ? element("td", {}, written(cell)) : element("th", { scope: "row", dir: "auto" }, written(cell)),
        ),
      ),
    );
    details.append(
      element(
        "div",
        { class: "scroll", tabindex: "0", role: "region", "aria-label": `Numbers of ${title}` },
        element(
          "table",
          {},
          element("caption", { class: "hidden" }, title),
          element(
            "thead",
            {},
            element(
              "tr",
              {},
              head.map((name) => element("th", { scope: "col" }, name)),
            ),
          ),
          element("tbody", {}, cells),
        ),
      ),
    );
  }
}

export function csv(rows) {
  // A cell that begins like a formula would be one to a spreadsheet; a dash alone is none.
  const cell = (value) => {
    const text = typeof value === "string" && /^[=+\-@\t\r].*[\p{L}\d(]/su.test(value) ? `'${value}` : written(value);
    return /[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  };
  return `\uFEFF${rows.map((row) => row.map(cell).join(",")).join("\r\n")}\r\n`;
}

export function save(name, text, type) {
  download(name, new Blob([text], { type: `${type};charset=utf-8` }));
}

// The picture with its looks written into it, so that it is the same without this page's styles.
export function svgFile(picture, title) {
  const copy = picture.cloneNode(true);
  const originals = [picture, ...picture.querySelectorAll("*")];
  [copy, ...copy.querySelectorAll("*")].forEach((each, number) => {
    const look = getComputedStyle(originals[number]);
    for (const name of LOOKS) each.setAttribute(name, look.getPropertyValue(name));
    for (const name of ["class", "role", "tabindex", "aria-label", "style"]) each.removeAttribute(name);
  });
  const [left, top, width, height] = picture.getAttribute("viewBox").split(" ").map(Number);
  const paper = getComputedStyle(byId("sentence")).backgroundColor;
  copy.prepend(drawn("title", {}, title), drawn("rect", { x: left, y: top, width, height, fill: paper }));
  copy.setAttribute("width", width);
  copy.setAttribute("height", height);
  return new XMLSerializer().serializeToString(copy);
}

export async function pngFile(picture, title) {
  const image = new Image();
  image.src = `data:image/svg+xml;charset=utf-8,${encodeURIComponent(svgFile(picture, title))}`;
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
    // not allowed here: shown instead, to be copied by hand
    byId("address").value = link;
    byId("copy").showModal();
    byId("address").select();
    return false;
  }
}

function json(title, [head, ...body]) {
  const rows = body.map((row) => Object.fromEntries(head.map((name, place) => [name, row[place]])));
  return `${JSON.stringify({ title, rows }, null, 2)}\n`;
}

function written(value) {
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
