// Runs in, their scores with intervals and the curves of deletion and training out.

import { byId, element } from "./elements.js";
import { chart } from "./curves.js";
import { digits, percent } from "./numbers.js";
import { saveMenu, tableOf } from "./saving.js";
import { unitsWide } from "./pictures.js";
import { contents } from "./source.js";

const MAIN = "30";
const COLOURS = 7; // of runs; further ones begin with the first again
const TERMS = {
  dev_accuracy: "Accuracy on dev",
  task: "Task loss",
  importance: "Importance loss",
  interaction: "Interaction loss",
  information: "Information loss",
};

export function drawScores() {
  const runs = contents.runs.filter(({ scores }) => scores.accuracy);
  byId("scores").hidden = !runs.length;
  if (!runs.length) return;
  const rows = runs.map(({ name, scores }) => [
    name,
    scores.accuracy,
    scores.deletion.random[MAIN],
    scores.deletion.capacity[MAIN],
    scores.srs[MAIN],
    scores.srs.random[MAIN],
  ]);
  const heads = [
    "run",
    "accuracy",
    "random 30 % deleted",
    "highest capacity 30 % deleted",
    "SRS: drop by capacity",
    "drop at random",
  ];
  byId("score-table").replaceChildren(
    element(
      "div",
      { class: "scroll", tabindex: "0", role: "region", "aria-label": "Scores of the runs" },
      element(
        "table",
        {},
        element("caption", {}, "In %, with the 95 % interval."),
        element(
          "thead",
          {},
          element(
            "tr",
            {},
            heads.map((head) => element("th", { scope: "col" }, head)),
          ),
        ),
        element(
          "tbody",
          {},
          rows.map(([name, ...cells]) =>
            element(
              "tr",
              {},
              element("th", { scope: "row" }, name),
              cells.map((cell) => element("td", {}, interval(cell))),
            ),
          ),
        ),
      ),
    ),
  );
  const container = byId("curves");
  const width = Math.min(unitsWide(container) / (innerWidth > 900 ? 2 : 1) - 24, 640);
  const made = [deletion(runs, width)];
  for (const [term, title] of Object.entries(TERMS)) {
    const shown = runs.filter(
      ({ history }) =>
        history.length > 1 &&
        history.every((line) => Number.isFinite(line[term])) &&
        history.some((line) => line[term] !== 0),
    );
    if (shown.length) made.push(training(runs, shown, term, title, width));
  }
  container.replaceChildren(...made);
}

function deletion(runs, width) {
  const keys = (by) =>
    Object.keys(by)
      .map(Number)
      .sort((one, other) => one - other);
  const lines = runs.flatMap(({ scores }, number) =>
    ["capacity", "random"].map((by) => {
      const told = scores.deletion[by];
      const x = keys(told);
      return {
        name: `${runs[number].name}, ${by}`,
        key: by === "capacity" ? runs[number].name : null,
        look: `${colour(number)} ${by}`,
        mark: by === "capacity" ? number : undefined,
        x: [0, ...x],
        y: [scores.accuracy.value, ...x.map((k) => told[k].value)],
        low: [scores.accuracy.low, ...x.map((k) => told[k].low)],
        high: [scores.accuracy.high, ...x.map((k) => told[k].high)],
      };
    }),
  );
  return chartPanel(
    "Accuracy as words are deleted",
    ["k % of the words deleted", "accuracy"],
    lines,
    width,
    (value) => percent(value),
    "Solid: by capacity. Dashed: at random. Bands: 95 % intervals.",
  );
}

function training(runs, shown, term, title, width) {
  const lines = shown.map((run) => ({
    name: run.name,
    key: run.name,
    look: colour(runs.indexOf(run)),
    mark: runs.indexOf(run),
    x: run.history.map((line) => line.epoch),
    y: run.history.map((line) => line[term]),
  }));
  return chartPanel(
    title,
    ["epoch", term === "dev_accuracy" ? "accuracy" : "loss"],
    lines,
    width,
    term === "dev_accuracy" ? (value) => percent(value) : digits,
    null,
  );
}

function colour(number) {
  return `run-${number % COLOURS}`;
}

function chartPanel(title, [across, up], lines, width, written, note) {
  const each = lines.map(({ name, y }) => `${name} from ${written(y[0])} to ${written(y.at(-1))}`);
  const said = `${title}: ${each.join("; ")}`;
  const picture = chart({ lines, width, height: 250, said, across, up, written });
  const every = [...new Set(lines.flatMap((line) => line.x))].sort((one, other) => one - other);
  const rows = () => [
    [across, ...lines.map((line) => line.name)],
    ...every.map((x) => [x, ...lines.map((line) => line.y[line.x.indexOf(x)] ?? null)]),
  ];
  return element(
    "div",
    { class: "panel" },
    element("h3", {}, title),
    picture,
    note ? element("p", { class: "note" }, note) : null,
    element(
      "div",
      { class: "foot" },
      tableOf(title, rows),
      saveMenu({ name: `safr-${title.toLowerCase().replaceAll(" ", "-")}`, title, picture: () => picture, rows }),
    ),
  );
}

function interval({ value, low, high }) {
  return [
    `${(100 * value).toFixed(1)} `,
    element("span", { class: "faint" }, `[${(100 * low).toFixed(1)}, ${(100 * high).toFixed(1)}]`),
  ];
}
