// Draws the scores of the runs with their intervals, and the curves of deletion and training.

import { byId, element } from "./elements.js";
import { drawChart } from "./curves.js";
import { formatNumber, formatPercent } from "./numbers.js";
import { makeSaveMenu, makeTable } from "./saving.js";
import { measurePanel } from "./pictures.js";
import { isRegression, payload } from "./source.js";
import { update } from "./update.js";

const MAIN_PERCENT = "30";
const COLOUR_COUNT = 7; // colours of runs; further runs begin again with the first colour
const METRIC = isRegression ? "mae" : "accuracy"; // as in scores.json
const METRIC_NAME = isRegression ? "mean absolute error" : "accuracy";
const CHANGE = isRegression ? "growth" : "drop";
const Y_TITLES = { dev_mae: METRIC_NAME, dev_accuracy: METRIC_NAME, dev_perplexity: "perplexity" };
const TERMS = {
  dev_mae: "Mean absolute error on dev",
  dev_accuracy: "Accuracy on dev",
  dev_perplexity: "Perplexity on dev",
  task: "Task loss",
  importance: "Importance loss",
  interaction: "Interaction loss",
  information: "Information loss",
};

export function hasScores() {
  return payload.runs.some(({ scores }) => scores[METRIC]);
}

export function drawScores() {
  const runs = payload.runs.filter(({ scores }) => scores[METRIC]);
  update(byId("score-table"), makeScoreTable(runs), listReasons(runs));
  const container = byId("curves");
  const width = Math.min(measurePanel(container), 640);
  const measuredRuns = runs.filter(({ scores }) => !scores.srs_reason);
  const panels = measuredRuns.length ? [makeDeletionPanel(runs, measuredRuns, width)] : [];
  for (const [term, title] of Object.entries(TERMS)) {
    const runsWithTerm = runs.filter(
      ({ history }) =>
        history.length > 1 &&
        history.every((line) => Number.isFinite(line[term])) &&
        history.some((line) => line[term] !== 0),
    );
    if (runsWithTerm.length) panels.push(makeTrainingPanel(runs, runsWithTerm, term, title, width));
  }
  update(container, panels);
}

function makeScoreTable(runs) {
  // Of each column its head, where a run has its estimate, and how that is written.
  const columns = [
    [METRIC_NAME, ({ scores }) => scores[METRIC], formatScore],
    ["random 30 % deleted", ({ scores }) => scores.deletion.random[MAIN_PERCENT], formatScore],
    ["highest capacity 30 % deleted", ({ scores }) => scores.deletion.capacity[MAIN_PERCENT], formatScore],
    [`SRS: ${CHANGE} by capacity`, ({ scores }) => scores.srs[MAIN_PERCENT], formatScore],
    [`${CHANGE} at random`, ({ scores }) => scores.srs.random[MAIN_PERCENT], formatScore],
  ];
  if (runs.some((run) => run.half_words))
    columns.push(["words with half of the relevance", (run) => run.half_words, (count) => count.toFixed(1)]);
  const caption = `With the 95 % interval${isRegression ? "" : "; accuracy in %, drops in points"}.`;
  return element(
    "div",
    { class: "scroll", tabindex: "0", role: "region", "aria-label": "Scores of the runs" },
    element(
      "table",
      {},
      element("caption", {}, caption),
      element("thead", {}, element("tr", {}, ["run", ...columns.map(([head]) => head)].map((head) => element("th", { scope: "col" }, head)))),
      element(
        "tbody",
        {},
        runs.map((run) =>
          element(
            "tr",
            {},
            element("th", { scope: "row" }, run.name),
            columns.map(([head, find, format]) => element("td", { "data-head": head }, formatEstimate(find(run), format))),
          ),
        ),
      ),
    ),
  );
}

// Why the table shows dashes: a note for each run from whose texts nothing can be deleted.
function listReasons(runs) {
  return runs
    .filter(({ scores }) => scores.srs_reason)
    .map(({ name, scores }) => element("p", { class: "note" }, `${name}: ${scores.srs_reason}.`));
}

function makeDeletionPanel(runs, measuredRuns, width) {
  const lines = measuredRuns.flatMap((run) =>
    ["capacity", "random"].map((order) => {
      const { name, scores } = run;
      const runNumber = runs.indexOf(run);
      const estimates = scores.deletion[order];
      const percents = Object.keys(estimates)
        .map(Number)
        .sort((one, other) => one - other);
      return {
        name: `${name}, ${order}`,
        legend: order === "capacity" ? name : null,
        cssClass: `${getColourClass(runNumber)} ${order}`,
        mark: order === "capacity" ? runNumber : undefined,
        x: [0, ...percents],
        y: [scores[METRIC].value, ...percents.map((percent) => estimates[percent].value)],
        low: [scores[METRIC].low, ...percents.map((percent) => estimates[percent].low)],
        high: [scores[METRIC].high, ...percents.map((percent) => estimates[percent].high)],
      };
    }),
  );
  return makeChartPanel({
    title: isRegression ? "Mean absolute error as words are deleted" : "Accuracy as words are deleted",
    xTitle: "k % of the words deleted",
    yTitle: METRIC_NAME,
    lines,
    width,
    formatY: isRegression ? formatNumber : (value) => formatPercent(value),
    note: "Solid: by capacity. Dashed: at random. Bands: 95 % intervals.",
  });
}

function makeTrainingPanel(runs, runsWithTerm, term, title, width) {
  const lines = runsWithTerm.map((run) => ({
    name: run.name,
    legend: run.name,
    cssClass: getColourClass(runs.indexOf(run)),
    mark: runs.indexOf(run),
    x: run.history.map((line) => line.epoch),
    y: run.history.map((line) => line[term]),
  }));
  const isAccuracy = term === "dev_accuracy";
  return makeChartPanel({
    title,
    xTitle: "epoch",
    yTitle: Y_TITLES[term] ?? "loss",
    lines,
    width,
    formatY: isAccuracy ? (value) => formatPercent(value) : formatNumber,
    note: null,
  });
}

function getColourClass(runNumber) {
  return `run-${runNumber % COLOUR_COUNT}`;
}

function makeChartPanel({ title, xTitle, yTitle, lines, width, formatY, note }) {
  const descriptions = lines.map(({ name, y }) => `${name} from ${formatY(y[0])} to ${formatY(y.at(-1))}`);
  const description = `${title}: ${descriptions.join("; ")}`;
  const picture = drawChart({ lines, width, height: 250, description, xTitle, yTitle, formatY });
  const allX = [...new Set(lines.flatMap((line) => line.x))].sort((one, other) => one - other);
  const getRows = () => [
    [xTitle, ...lines.map((line) => line.name)],
    ...allX.map((x) => [x, ...lines.map((line) => line.y[line.x.indexOf(x)] ?? null)]),
  ];
  return element(
    "div",
    { class: "panel", key: title },
    element("h3", {}, title),
    picture,
    note ? element("p", { class: "note" }, note) : null,
    element(
      "div",
      { class: "foot" },
      makeTable({ id: title, title, getRows }),
      makeSaveMenu({
        name: `safr-${title.toLowerCase().replaceAll(" ", "-")}`,
        title,
        getPicture: (panel) => panel.querySelector("svg"),
        getRows,
      }),
    ),
  );
}

function formatEstimate(estimate, format) {
  if (!estimate) return ["–"]; // nothing can be deleted, and so nothing was measured
  const { value, low, high } = estimate;
  if (![value, low, high].every(Number.isFinite)) return ["none"]; // of a model that diverged
  return [`${format(value)} `, element("span", { class: "faint" }, `[${format(low)}, ${format(high)}]`)];
}

function formatScore(value) {
  return isRegression ? formatNumber(value) : (100 * value).toFixed(1);
}
