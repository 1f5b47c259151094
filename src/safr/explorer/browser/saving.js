// Saves pictures and numbers as files, shows numbers as a table, and copies links.

import { byId, element } from "./elements.js";
import { makePngFile, makeSvgFile } from "./picture_file.js";

const openTables = new Set(); // the tables of numbers that are unfolded, by id

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
  return element(
    "details",
    { class: "save", key: "save", keydown: closeMenu, focusout: closeMenu },
    element("summary", { "aria-label": `Save ${title}` }, "Save"),
    element("div", { role: "group", "aria-label": `Save ${title}` }, buttons),
  );

  function makeButton(kind, saveAs) {
    const click = ({ currentTarget: button }) => {
      saveAs(button.closest(".panel"));
      button.closest("details").open = false;
    };
    return element("button", { type: "button", click, "aria-label": `Save ${title} as ${kind}` }, kind);
  }
}

// The menu closes when the focus leaves it, and by Escape.
function closeMenu({ type, key, currentTarget: details, relatedTarget }) {
  if (key === "Escape") details.querySelector("summary").focus();
  if (key === "Escape" || (type === "focusout" && relatedTarget && !details.contains(relatedTarget)))
    details.open = false;
}

// The numbers of a picture as a table that can be opened, for people who would rather read them than see the picture.
// The `id` says which table it is, so that it stays open when it is drawn anew.
export function makeTable({ id, title, getRows }) {
  const isOpen = openTables.has(id);
  return element(
    "details",
    { class: "numbers", key: "numbers", toggle, open: isOpen },
    element("summary", {}, "Table of numbers"),
    isOpen ? fillTable(title, getRows()) : null,
  );

  function toggle({ currentTarget: details }) {
    if (details.open === openTables.has(id)) return;
    if (!openTables.delete(id)) openTables.add(id);
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

// Rows are lists and no objects, since two columns may have one name, as those of a word that occurs twice.
function formatJson(title, [columns, ...rows]) {
  return `${JSON.stringify({ title, columns, rows }, null, 2)}\n`;
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
