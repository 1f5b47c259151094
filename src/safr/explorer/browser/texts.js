// Draws the table of texts, which can be searched, filtered and sorted. Only the rows in sight exist as nodes.

import { byId, element, setOptions } from "./elements.js";
import { cleanText, formatCount, formatNumber, formatPoints } from "./numbers.js";
import { formatCsv, save } from "./saving.js";
import { isRegression, payload } from "./source.js";
import { change, listShownRuns, state } from "./state.js";

const ROW_REM = 2.25; // height of a row
const ROWS_AHEAD = 6; // rows drawn above and below those in sight
const EFFECT_MEANING =
  (isRegression
    ? "SRS effect: how far the predicted number moves "
    : "SRS effect: how many points the predicted class's probability loses ") +
  "without the 30 % of words of highest capacity. A text of one word has none.";

const formatEffect = isRegression ? formatNumber : formatPoints;
const filters = { search: "", outcome: "", label: "", longest: 0, effect: null, holding: null };
const sorting = { column: "number", descending: false };
let runs = [];
let shownInTable = ""; // the runs that have columns
let matchingRows = [];
let table = null;
let rowGroup = null;

export function setUpTexts() {
  const outcomes = [
    ["", "any"],
    ["wrong", "wrong"],
    ["right", "right"],
  ];
  if (payload.runs.length > 1) outcomes.push(["differ", "runs differ"]);
  setOptions(byId("outcome"), outcomes, "");
  byId("effect-unit").hidden = isRegression;
  for (const name of ["outcome", "label"]) byId(name).closest("label").hidden = isRegression;
  if (!payload.labels.length) byId("label").closest("label").hidden = true;
  setOptions(byId("label"), [["", "any"], ...payload.labels.map((label) => [label, cleanText(label)])], "");
  byId("search").addEventListener("input", (event) => setFilter({ search: event.target.value.toLowerCase() }));
  byId("outcome").addEventListener("change", (event) => setFilter({ outcome: event.target.value }));
  byId("label").addEventListener("change", (event) => setFilter({ label: event.target.value }));
  byId("longest").addEventListener("input", (event) => setFilter({ longest: Number(event.target.value) || 0 }));
  byId("effect").addEventListener("input", (event) =>
    setFilter({ effect: event.target.value === "" ? null : Number(event.target.value) / (isRegression ? 1 : 100) }),
  );
  byId("holding").addEventListener("click", () => setFilter({ holding: null }));
  byId("save-table").addEventListener("click", () => save("safr-texts.csv", formatCsv(makeCsvRows()), "text/csv"));
  const [rowCount, textCount] = [payload.rows.length, payload.total].map((count) => count.toLocaleString("en"));
  const choice =
    payload.rows.length < payload.total
      ? `${rowCount} of ${textCount} test texts: the examples of the report and a sample by hash. Choose one to open it.`
      : "All texts of the test split. Choose one to open it.";
  byId("texts-hint").textContent = `${choice} ${EFFECT_MEANING}`;
}

// Unfolds the table with those texts alone that hold a word. `numbers` are those of all texts with it.
export function showTextsWithWord(word, numbers) {
  byId("texts").querySelector("details").open = true;
  setFilter({ holding: { word, numbers } });
  byId("texts").scrollIntoView();
  byId("texts").focus({ preventScroll: true });
}

export function drawTexts() {
  const shown = listShownRuns().join("\n");
  if (!table || shown !== shownInTable) buildTable();
  shownInTable = shown;
  refreshTexts();
}

// The rows that the search and the filters leave, in the order of the table.
export function listMatchingRows() {
  runs = listShownRuns();
  const rows = payload.rows.filter(matchesFilters);
  const getValue = listColumns().find(({ name }) => name === sorting.column)?.getValue ?? ((row) => row.number);
  const direction = sorting.descending ? -1 : 1;
  const rank = (row) => getValue(row) ?? -Infinity;
  return rows.sort(
    (one, other) =>
      direction * (typeof rank(one) === "string" ? rank(one).localeCompare(rank(other)) : rank(one) - rank(other)) ||
      one.number - other.number,
  );
}

export function refreshTexts() {
  if (!table) return;
  matchingRows = listMatchingRows();
  const { length } = matchingRows;
  const message = `${formatCount(length, "text")}${length ? "" : "; relax a filter to see some"}`;
  // A screen reader would read the same message again.
  if (byId("found").textContent !== message) byId("found").textContent = message;
  table.setAttribute("aria-rowcount", length + 1);
  const order = sorting.descending ? "descending" : "ascending";
  for (const head of table.querySelectorAll("[aria-sort]"))
    head.setAttribute("aria-sort", head.dataset.by === sorting.column ? order : "none");
  rowGroup.style.height = `${length * ROW_REM}rem`;
  drawRows();
}

function setFilter(values) {
  Object.assign(filters, values);
  byId("holding").hidden = filters.holding === null;
  byId("holding").textContent = filters.holding ? `With “${cleanText(filters.holding.word)}” ✕` : "";
  byId("holding").title = "Show the texts without this word too";
  if (table) table.parentElement.scrollTop = 0;
  refreshTexts();
}

function matchesFilters(row) {
  const wrong = runs.some((run) => row.predictions[run] !== row.label);
  const differ = new Set(runs.map((run) => row.predictions[run])).size > 1;
  return (
    (!filters.search || row.text.toLowerCase().includes(filters.search)) &&
    (!filters.label || row.label === filters.label || (row.label ?? "").split("; ").includes(filters.label)) &&
    row.words >= filters.longest &&
    (filters.holding === null || filters.holding.numbers.has(row.number)) &&
    (filters.outcome === "" || { wrong, right: !wrong, differ }[filters.outcome]) &&
    (filters.effect === null || runs.some((run) => (row.effects[run] ?? -Infinity) >= filters.effect))
  );
}

// The columns: name, heading, the value of a row that they are sorted by, and what stands in a cell.
function listColumns() {
  const addRun = (title, run) => (runs.length > 1 ? `${title}, ${run}` : title);
  return [
    {
      name: "number",
      title: "No.",
      getValue: (row) => row.number,
      getCell: (row) => (row.number < 0 ? "example" : row.number + 1),
    },
    { name: "text", title: "Text", getValue: (row) => row.text, getCell: makeTextButton },
    {
      name: "label",
      title: "Label",
      getValue: (row) => (isRegression && row.label !== null ? Number(row.label) : (row.label ?? "")),
      getCell: (row) => (row.label === null ? "" : nameClasses(row.label)),
    },
    ...runs.map((run) => ({
      name: `prediction ${run}`,
      title: addRun("Predicted", run),
      getValue: (row) => (isRegression ? Number(row.predictions[run]) : row.predictions[run]),
      getCell: (row) => makePredictionCell(row, run),
    })),
    { name: "words", title: "Words", getValue: (row) => row.words, getCell: (row) => row.words },
    ...runs.map((run) => ({
      name: `effect ${run}`,
      title: addRun("SRS effect", run),
      getValue: (row) => row.effects[run],
      getCell: (row) => formatEffect(row.effects[run]),
    })),
  ];
}

function makePredictionCell(row, run) {
  const right = isRegression || row.predictions[run] === row.label;
  return element(
    "span",
    { class: right ? "" : "wrong" },
    right ? nameClasses(row.predictions[run]) : `✗ ${nameClasses(row.predictions[run])}`,
  );
}

function makeTextButton(row) {
  return element(
    "button",
    {
      type: "button",
      title: cleanText(row.text).slice(0, 300),
      click: () => {
        change({ text: row.number, typed: "", word: null, count: 0, without: null });
        byId("sentence").scrollIntoView({
          behavior: matchMedia("(prefers-reduced-motion: reduce)").matches ? "auto" : "smooth",
        });
        byId("sentence").focus({ preventScroll: true });
      },
    },
    element("bdi", {}, cleanText(row.text)),
  );
}

function buildTable() {
  runs = listShownRuns();
  const heads = listColumns().map(({ name, title }) =>
    element(
      "div",
      { role: "columnheader", class: getCellClass(name), "aria-sort": "none", "data-by": name },
      element(
        "button",
        {
          type: "button",
          title: name.startsWith("effect") ? EFFECT_MEANING : null,
          click: () => {
            const descendingFirst = name.startsWith("effect") || name === "words";
            sorting.descending = sorting.column === name ? !sorting.descending : descendingFirst;
            sorting.column = name;
            refreshTexts();
          },
        },
        title,
      ),
    ),
  );
  rowGroup = element("div", { role: "rowgroup", class: "rows" });
  table = element(
    "div",
    { role: "table", "aria-label": "Texts", class: runs.length > 1 ? "grid two" : "grid" },
    element("div", { role: "rowgroup", class: "heads" }, element("div", { role: "row", "aria-rowindex": 1 }, heads)),
    rowGroup,
  );
  const scrollArea = element(
    "div",
    { class: "scroll", tabindex: "0", role: "region", "aria-label": "Texts, scrolling", scroll: drawRows },
    table,
  );
  byId("table").replaceChildren(scrollArea);
}

function drawRows() {
  const rowHeight = ROW_REM * Number.parseFloat(getComputedStyle(document.documentElement).fontSize);
  const { scrollTop, clientHeight } = table.parentElement;
  const first = Math.max(Math.floor(scrollTop / rowHeight) - ROWS_AHEAD, 0);
  const last = Math.min(first + Math.ceil((clientHeight || 400) / rowHeight) + 2 * ROWS_AHEAD, matchingRows.length);
  const focusedRow = rowGroup.contains(document.activeElement)
    ? document.activeElement.closest("[data-row]")?.dataset.row
    : null;
  rowGroup.replaceChildren(
    ...matchingRows.slice(first, last).map((row, index) => {
      const node = element(
        "div",
        {
          role: "row",
          "aria-rowindex": first + index + 2,
          "data-row": row.number,
          class: row.number === state.text ? "row open" : "row",
        },
        listColumns().map(({ name, getCell }) =>
          element("div", { role: "cell", class: getCellClass(name) }, getCell(row)),
        ),
      );
      node.style.top = `${(first + index) * ROW_REM}rem`;
      return node;
    }),
  );
  if (focusedRow) rowGroup.querySelector(`[data-row="${focusedRow}"] button`)?.focus({ preventScroll: true });
}

function getCellClass(column) {
  return `cell of-${column.split(" ")[0]}`;
}

function makeCsvRows() {
  return [
    ["number", "text", "label", "words", ...runs.flatMap((run) => [`prediction ${run}`, `effect ${run}`])],
    ...matchingRows.map((row) => [
      row.number < 0 ? "example" : row.number + 1, // as the page counts
      row.text,
      row.label,
      row.words,
      ...runs.flatMap((run) => [row.predictions[run], row.effects[run]]),
    ]),
  ];
}

// A text may have no class, where it may have several.
function nameClasses(names) {
  return names ? cleanText(names) : "none";
}
