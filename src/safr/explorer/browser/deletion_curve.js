// Draws the prediction as word after word is deleted: by a score, and at random.

import { drawChart } from "./curves.js";
import { findNearestStep } from "./deletion.js";
import { element } from "./elements.js";
import { formatShare, MEASURES } from "./explanations.js";
import { cleanText } from "./numbers.js";
import { makePanel, measurePanel } from "./pictures.js";
import { isRegression } from "./source.js";
import { state } from "./state.js";
import { update } from "./update.js";

const NOUN = isRegression ? "value" : "probability";

// Why a run may lack an order that another has.
const NO_ORDER = {
  keep: "This run has no VMASK, and so no keep probability.",
  relevance: "There are no rules of relevance for what this run's model computes.",
};

export function drawCurves(container, entries) {
  const width = measurePanel(container);
  const sideBySide = entries.length > 1;
  update(
    container,
    entries.filter(({ whatIf }) => whatIf).map((entry) => makeCurvePanel(entry, sideBySide, width)),
  );
}

function makeCurvePanel(entry, sideBySide, width) {
  const { whatIf } = entry;
  if (!whatIf.orders[state.order])
    return makePanel({
      entry,
      subject: "What if",
      sideBySide,
      body: element("p", { class: "none" }, NO_ORDER[state.order]),
    });
  return makePanel({
    entry,
    subject: "What if",
    sideBySide,
    body: drawCurve(whatIf, width),
    note: "At random: the mean, the lowest and the highest of 5 orders.",
    getPicture: (panel) => panel.querySelector("svg"),
    getRows: () => makeRows(whatIf),
  });
}

function drawCurve(whatIf, width) {
  const randomLine = {
    legend: "at random",
    cssClass: "random",
    x: whatIf.counts,
    y: whatIf.random,
    low: whatIf.random_low,
    high: whatIf.random_high,
  };
  const scoreLine = {
    legend: `by ${MEASURES[state.order].toLowerCase()}`,
    cssClass: "by",
    x: whatIf.counts,
    y: whatIf.probability[state.order],
  };
  const followed = cleanText(whatIf.followed);
  const description =
    `${NOUN[0].toUpperCase()}${NOUN.slice(1)} of ${followed} as words are deleted: by ${state.order} it goes from ` +
    `${formatShare(scoreLine.y[0], 0)} to ${formatShare(scoreLine.y.at(-1), 0)}, ` +
    `at random to ${formatShare(randomLine.y.at(-1), 0)}`;
  return drawChart({
    lines: [randomLine, scoreLine],
    width: Math.min(width, 720),
    height: 230,
    description,
    xTitle: "words deleted",
    yTitle: `${NOUN} of ${followed}`,
    formatY: (value) => formatShare(value, 0),
    yMin: isRegression ? null : 0,
    yMax: isRegression ? null : 1,
    markedX: state.without ? null : whatIf.counts[findNearestStep(whatIf.counts, state.count)],
  });
}

function makeRows(whatIf) {
  const names = Object.keys(whatIf.orders);
  return [
    [
      "words deleted",
      ...names.flatMap((name) => [`probability by ${name}`, `prediction by ${name}`]),
      "random mean",
      "random lowest",
      "random highest",
    ],
    ...whatIf.counts.map((count, step) => [
      count,
      ...names.flatMap((name) => [whatIf.probability[name][step], whatIf.predictions[name][step]]),
      whatIf.random[step],
      whatIf.random_low[step],
      whatIf.random_high[step],
    ]),
  ];
}
