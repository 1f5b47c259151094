// The texts in, a table to search, filter and sort out. Only the rows in sight exist, so that thousands cost nothing.

import { byId, element, options } from "./elements.js";
import { counted, points, shown } from "./numbers.js";
import { csv, save } from "./saving.js";
import { contents } from "./source.js";
import { change, state } from "./state.js";

const ROW_REM = 2.25;
const AHEAD = 6;
const EFFECT =
  "SRS effect: how many points the predicted class's probability loses without the 30 % of words of highest capacity.";

const filters = { search: "", outcome: "", label: "", longest: 0, effect: null };
const sorted = { by: "number", down: false };
let runs = [];
let found = [];
let body = null;
let spacer = null;

export function setUpTexts() {
  const choices = [
    ["", "any"],
    ["wrong", "wrong"],
    ["right", "right"],
  ];
  if (contents.runs.length > 1) choices.push(["differ", "runs differ"]);
  options(byId("outcome"), choices, "");
  options(byId("label"), [["", "any"], ...contents.labels.map((label) => [label, shown(label)])], "");
  byId("search").addEventListener("input", (event) => filter({ search: event.target.value.toLowerCase() }));
  byId("outcome").addEventListener("change", (event) => filter({ outcome: event.target.value }));
  byId("label").addEventListener("change", (event) => filter({ label: event.target.value }));
  byId("longest").addEventListener("input", (event) => filter({ longest: Number(event.target.value) || 0 }));
  byId("effect").addEventListener("input", (event) =>
    filter({ effect: event.target.value === "" ? null : Number(event.target.value) / 100 }),
  );
  byId("save-table").addEventListener("click", () => save("safr-texts.csv", csv(tableRows()), "text/csv"));
  const [here, all] = [contents.rows.length, contents.total].map((count) => count.toLocaleString("en"));
  const which =
    contents.rows.length < contents.total
      ? `${here} of ${all} test texts: the examples of the report and a sample by hash. Choose one to open it.`
      : "All texts of the test split. Choose one to open it.";
  byId("texts-hint").textContent = `${which} ${EFFECT}`;
}

export function drawTexts(chosen) {
  const changed = chosen.join("\n") !== runs.join("\n");
  runs = chosen;
  if (!body || changed) buildTable();
  refresh();
}

function filter(values) {
  Object.assign(filters, values);
  body.parentElement.scrollTop = 0;
  refresh();
}

export function refresh() {
  if (!body) return;
  found = contents.rows.filter(matches);
  const value = columns().find(([name]) => name === sorted.by)?.[2] ?? ((row) => row.number);
  const direction = sorted.down ? -1 : 1;
  const rank = (row) => value(row) ?? -Infinity;
  found.sort(
    (one, other) =>
      direction * (typeof rank(one) === "string" ? rank(one).localeCompare(rank(other)) : rank(one) - rank(other)) ||
      one.number - other.number,
  );
  const said = `${counted(found.length, "text")}${found.length ? "" : "; loosen a filter to see some"}`;
  if (byId("found").textContent !== said) byId("found").textContent = said; // it would be read out again
  body.setAttribute("aria-rowcount", found.length + 1);
  for (const head of body.querySelectorAll("[aria-sort]"))
    head.setAttribute("aria-sort", head.dataset.by === sorted.by ? (sorted.down ? "descending" : "ascending") : "none");
  spacer.style.height = `${found.length * ROW_REM}rem`;
  drawRows();
}

function matches(row) {
  const wrong = runs.some((run) => row.predictions[run] !== row.label);
  const differ = new Set(runs.map((run) => row.predictions[run])).size > 1;
  return (
    (!filters.search || row.text.toLowerCase().includes(filters.search)) &&
    (!filters.label || row.label === filters.label) &&
    row.words >= filters.longest &&
    (filters.outcome === "" || { wrong, right: !wrong, differ }[filters.outcome]) &&
    (filters.effect === null || runs.some((run) => (row.effects[run] ?? -Infinity) >= filters.effect))
  );
}

// Name, heading, value to sort by, and what stands in a cell.
function columns() {
  const several = runs.length > 1;
  const named = (run, what) => (several ? `${what}, ${run}` : what);
  return [
    ["number", "No.", (row) => row.number, (row) => (row.number < 0 ? "example" : row.number + 1)],
    ["text", "Text", (row) => row.text, (row) => textButton(row)],
    ["label", "Label", (row) => row.label ?? "", (row) => shown(row.label ?? "")],
    ...runs.map((run) => [
      `prediction ${run}`,
      named(run, "Predicted"),
      (row) => row.predictions[run],
      (row) => outcome(row, run),
    ]),
    ["words", "Words", (row) => row.words, (row) => row.words],
    ...runs.map((run) => [
      `effect ${run}`,
      named(run, "SRS effect"),
      (row) => row.effects[run],
      (row) => points(row.effects[run]),
    ]),
  ];
}

function outcome(row, run) {
  const right = row.predictions[run] === row.label;
  return element(
    "span",
    { class: right ? "" : "wrong" },
    right ? shown(row.predictions[run]) : `✗ ${shown(row.predictions[run])}`,
  );
}

function textButton(row) {
  return element(
    "button",
    {
      type: "button",
      title: shown(row.text).slice(0, 300),
      click: () => {
        change({ text: row.number, typed: "", word: null, count: 0, without: null });
        byId("sentence").scrollIntoView({
          behavior: matchMedia("(prefers-reduced-motion: reduce)").matches ? "auto" : "smooth",
        });
        byId("sentence").focus({ preventScroll: true });
      },
    },
    element("bdi", {}, shown(row.text)),
  );
}

function buildTable() {
  const heads = columns().map(([name, label]) =>
    element(
      "div",
      { role: "columnheader", class: kind(name), "aria-sort": "none", "data-by": name },
      element(
        "button",
        {
          type: "button",
          title: name.startsWith("effect") ? EFFECT : null,
          click: () => {
            sorted.down = sorted.by === name ? !sorted.down : name.startsWith("effect") || name === "words";
            sorted.by = name;
            refresh();
          },
        },
        label,
      ),
    ),
  );
  spacer = element("div", { role: "rowgroup", class: "rows" });
  body = element(
    "div",
    { role: "table", "aria-label": "Texts", class: runs.length > 1 ? "grid two" : "grid" },
    element("div", { role: "rowgroup", class: "heads" }, element("div", { role: "row", "aria-rowindex": 1 }, heads)),
    spacer,
  );
  const scrolling = element(
    "div",
    { class: "scroll", tabindex: "0", role: "region", "aria-label": "Texts, scrolling", scroll: drawRows },
    body,
  );
  byId("table").replaceChildren(scrolling);
}

function drawRows() {
  const letter = Number.parseFloat(getComputedStyle(document.documentElement).fontSize);
  const { scrollTop, clientHeight } = body.parentElement;
  const first = Math.max(Math.floor(scrollTop / (ROW_REM * letter)) - AHEAD, 0);
  const last = Math.min(first + Math.ceil((clientHeight || 400) / (ROW_REM * letter)) + 2 * AHEAD, found.length);
  const focused = spacer.contains(document.activeElement)
    ? document.activeElement.closest("[data-row]")?.dataset.row
    : null;
  spacer.replaceChildren(
    ...found.slice(first, last).map((row, place) => {
      const line = element(
        "div",
        {
          role: "row",
          "aria-rowindex": first + place + 2,
          "data-row": row.number,
          class: row.number === state.text ? "row open" : "row",
        },
        columns().map(([name, , , cell]) => element("div", { role: "cell", class: kind(name) }, cell(row))),
      );
      line.style.top = `${(first + place) * ROW_REM}rem`;
      return line;
    }),
  );
  if (focused) spacer.querySelector(`[data-row="${focused}"] button`)?.focus({ preventScroll: true });
}

function kind(name) {
  return `cell of-${name.split(" ")[0]}`;
}

function tableRows() {
  return [
    ["number", "text", "label", "words", ...runs.flatMap((run) => [`prediction ${run}`, `effect ${run}`])],
    ...found.map((row) => [
      row.number,
      row.text,
      row.label,
      row.words,
      ...runs.flatMap((run) => [row.predictions[run], row.effects[run]]),
    ]),
  ];
}
