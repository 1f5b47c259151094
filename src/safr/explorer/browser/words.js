// Draws the table of all words of the test texts, which can be searched and sorted, and opens the texts of a word.

import { byId, element } from "./elements.js";
import { cleanText, formatCount, formatNumber } from "./numbers.js";
import { formatCsv, save } from "./saving.js";
import { fetchTextsWithWord, fetchWords, isRegression, payload } from "./source.js";
import { showTextsWithWord } from "./texts.js";
import { update } from "./update.js";

const ROWS = 20; // of a page
const LEAST_TEXTS = 5; // a mean over fewer says little

const view = { search: "", least: LEAST_TEXTS, page: 0, column: "", isDescending: true };
let runs = [];
let tables = []; // of the runs, as the server or the file gives them
let rows = []; // a word each, with its place in the tables
let drawing = 0; // number of the latest drawing, since an older one may get its answer later

export function hasWords() {
  return payload.live || Object.keys(payload.words).length > 0;
}

export function setUpWords() {
  byId("word-search").addEventListener("input", (event) => change({ search: event.target.value.trim().toLowerCase() }));
  byId("word-texts").value = LEAST_TEXTS;
  byId("word-texts").addEventListener("input", (event) => change({ least: Number(event.target.value) || 1 }));
  byId("word-back").addEventListener("click", () => change({ page: view.page - 1 }));
  byId("word-on").addEventListener("click", () => change({ page: view.page + 1 }));
  byId("save-words").addEventListener("click", () => save("safr-words.csv", formatCsv(makeCsvRows()), "text/csv"));
}

export async function drawWordTable(shownRuns) {
  if (shownRuns.join("\n") === runs.join("\n")) return;
  const own = (drawing += 1);
  byId("words").ariaBusy = "true";
  try {
    const found = await Promise.all(shownRuns.map((run) => fetchWords(run)));
    if (own !== drawing) return;
    [runs, tables] = [shownRuns, found];
    rows = joinTables();
    if (!listColumns().some(({ name }) => name === view.column))
      Object.assign(view, { column: `capacity ${runs[0]}`, isDescending: true });
    refresh();
  } catch (error) {
    if (own === drawing) byId("word-note").textContent = error.message;
  } finally {
    if (own === drawing) byId("words").ariaBusy = "false";
  }
}

function joinTables() {
  const byWord = new Map();
  for (const [number, table] of tables.entries()) {
    for (const [place, word] of table.words.entries()) {
      const row = byWord.get(word) ?? { word, texts: table.texts[place], count: table.counts[place], places: [] };
      row.places[number] = place;
      byWord.set(word, row);
    }
  }
  return [...byWord.values()];
}

function change(values) {
  Object.assign(view, { page: 0 }, values);
  refresh();
}

// The columns: name, heading, the value of a row, and how it is written.
function listColumns() {
  const addRun = (title, number) => (runs.length > 1 ? `${title}, ${runs[number]}` : title);
  const listColumn = (name, title, getValues) =>
    tables.flatMap((table, number) =>
      getValues(table)
        ? [
            {
              name: `${name} ${runs[number]}`,
              title: addRun(title, number),
              isShare: !name.startsWith("relevance"),
              getValue: ({ places }) => getValues(table)[places[number]] ?? null,
            },
          ]
        : [],
    );
  const classes = [...new Set(tables.flatMap(({ relevance }) => Object.keys(relevance)))];
  return [
    { name: "word", title: "Word", getValue: ({ word }) => word },
    { name: "texts", title: "In texts", getValue: ({ texts }) => texts },
    { name: "count", title: "Times", getValue: ({ count }) => count },
    ...listColumn("capacity", "Capacity", ({ capacity }) => capacity),
    ...classes.flatMap((label) =>
      listColumn(`relevance ${label}`, nameRelevance(label), ({ relevance }) => relevance[label]),
    ),
    ...listColumn("keep", "Keep probability", ({ keep }) => keep),
  ];
}

function nameRelevance(label) {
  if (label) return `Relevance for ${cleanText(label)}`;
  return isRegression ? "Relevance" : "Relevance for the predicted class";
}

function findRows() {
  const { getValue } = listColumns().find(({ name }) => name === view.column);
  const direction = view.isDescending ? -1 : 1;
  const found = rows.filter(({ word, texts }) => texts >= view.least && word.toLowerCase().includes(view.search));
  return found.sort((one, other) => {
    const [value, otherValue] = [getValue(one), getValue(other)];
    if (value === null || otherValue === null) return (value === null) - (otherValue === null); // at the end
    return direction * (typeof value === "string" ? value.localeCompare(otherValue) : value - otherValue);
  });
}

function refresh() {
  if (!tables.length) return; // the server has not answered yet
  const found = findRows();
  const pages = Math.max(Math.ceil(found.length / ROWS), 1);
  view.page = Math.min(Math.max(view.page, 0), pages - 1);
  byId("word-back").disabled = view.page === 0;
  byId("word-on").disabled = view.page === pages - 1;
  const said = found.length
    ? `${formatCount(found.length, "word")}, page ${view.page + 1} of ${pages.toLocaleString("en")}`
    : "No word; search for another, or ask for fewer texts";
  if (byId("word-found").textContent !== said) byId("word-found").textContent = said;
  byId("word-note").textContent = describeCut();
  update(byId("word-table"), makeTable(found.slice(view.page * ROWS, (view.page + 1) * ROWS)));
}

// What the tables leave out, and how they were spelled.
function describeCut() {
  const cut = tables.filter(({ words, total }) => words.length < total);
  const most = Math.max(...tables.map(({ total }) => total)).toLocaleString("en");
  const kept = Math.min(...tables.map(({ words }) => words.length)).toLocaleString("en");
  return [
    cut.length ? `Here are the ${kept} of ${most} words that occur most often.` : "",
    tables.every((table) => table.is_lower) ? "The model reads upper and lower case alike." : "",
    "Means over all places of a word in the test texts; relevance over the texts that get the class.",
  ]
    .filter(Boolean)
    .join(" ");
}

function makeTable(shown) {
  const columns = listColumns();
  const order = view.isDescending ? "descending" : "ascending";
  const heads = columns.map(({ name, title }) =>
    element(
      "th",
      { scope: "col", key: name, "aria-sort": name === view.column ? order : "none" },
      element("button", { type: "button", click: () => sortBy(name) }, title),
    ),
  );
  return element(
    "table",
    {},
    element("caption", { class: "hidden" }, "Words of the test texts"),
    element("thead", {}, element("tr", {}, heads)),
    element(
      "tbody",
      {},
      shown.map((row) => element("tr", { key: row.word }, columns.map((column) => makeCell(row, column)))),
    ),
  );
}

function sortBy(name) {
  change({ column: name, isDescending: view.column === name ? !view.isDescending : name !== "word" });
}

function makeCell(row, { name, isShare, getValue }) {
  const value = getValue(row);
  if (name === "word") {
    const open = () => openTexts(row);
    const title = `Texts with “${cleanText(row.word)}”`;
    const button = element("button", { type: "button", title, click: open }, element("bdi", {}, cleanText(row.word)));
    return element("th", { scope: "row", key: name }, button);
  }
  if (isShare === undefined) return element("td", { key: name }, value.toLocaleString("en"));
  const sign = !isShare && value > 0 ? "+" : "";
  const shown = value === null ? "–" : isShare ? value.toFixed(2) : `${sign}${formatNumber(value)}`;
  const cell = element("td", { key: name, class: isShare ? "share" : null }, shown);
  if (isShare) cell.style.setProperty("--share", String(value ?? 0));
  return cell;
}

async function openTexts({ word, places }) {
  const number = places.findIndex((place) => place !== undefined);
  try {
    showTextsWithWord(word, new Set(await fetchTextsWithWord(runs[number], word)));
  } catch (error) {
    byId("word-note").textContent = error.message;
  }
}

function makeCsvRows() {
  const columns = listColumns();
  return [columns.map(({ title }) => title), ...findRows().map((row) => columns.map(({ getValue }) => getValue(row)))];
}
