// Draws the what-if section: a sentence whose words can be deleted, and the probability as words are deleted.

import { byId, element, setOptions } from "./elements.js";
import { cleanText, formatCount, formatNumber, formatPercent } from "./numbers.js";
import { drawChart } from "./curves.js";
import { makePanel, measureWidth } from "./pictures.js";
import { MEASURES } from "./explanations.js";
import { getWordClass, layOutWords, makeWord } from "./sentence.js";
import { fetchPrediction, isRegression, payload } from "./source.js";
import { change, state } from "./state.js";

const NOUN = isRegression ? "value" : "probability";

// Why a run may lack an order that another has.
const NO_ORDER = {
  keep: "This run has no VMASK, and so no keep probability.",
  relevance: "There are no rules of relevance for what this run's model computes.",
};
const WAITING = "…";
let controller = null; // aborts the questions to the server that are still open

export function drawWhatIf(section, entries, request) {
  const container = section.querySelector(".panels");
  const sideBySide = entries.length > 1;
  const first = entries.find((entry) => entry.whatIf)?.whatIf;
  section.hidden = !first && !payload.live; // a notebook's page has no model to ask
  if (!first) return; // the server is still computing
  const orders = [...new Set(entries.flatMap(({ whatIf }) => Object.keys(whatIf?.orders ?? {})))];
  if (!orders.includes(state.order)) state.order = "capacity";
  setOptions(
    byId("order"),
    orders.map((name) => [name, MEASURES[name].toLowerCase()]),
    state.order,
  );
  byId("order").disabled = orders.length < 2;
  const step = findNearestStep(first.counts, state.count);
  const slider = byId("count");
  slider.max = first.counts.length - 1;
  slider.value = state.without ? 0 : step;
  const wordCount = entries[0].explanation.words.length;
  const count = state.without ? state.without.size : first.counts[step];
  const isSrs = count > 0 && count === first.main && !state.without && state.order === "capacity";
  const remark = isSrs ? ", as SRS(30) does" : "";
  byId("count-said").textContent = `${count} of ${formatCount(wordCount, "word")}${remark}`;
  slider.setAttribute("aria-valuetext", byId("count-said").textContent);
  byId("restore").disabled = count === 0;
  controller?.abort();
  controller = new AbortController();
  container.replaceChildren(...entries.map((entry) => makeWhatIfPanel(entry, sideBySide, container, request)));
}

export function stepTo(step, entries) {
  const counts = entries.find((entry) => entry.whatIf)?.whatIf.counts ?? [0];
  change({ count: counts[step], without: null });
}

function makeWhatIfPanel(entry, sideBySide, container, request) {
  const { whatIf, explanation } = entry;
  const order = whatIf.orders[state.order];
  if (!order)
    return makePanel({
      entry,
      subject: "What if",
      sideBySide,
      body: element("p", { class: "none" }, NO_ORDER[state.order]),
    });
  const step = findNearestStep(whatIf.counts, state.count);
  const deleted = state.without ?? new Set(order.slice(0, whatIf.counts[step]));
  const predictionLine = element("p", { class: "predicted" });
  showPrediction(predictionLine, entry, deleted, step, request).then(announcePredictions);
  const words = layOutWords(explanation.words, explanation.text_of_word, (text, word) =>
    element(
      "button",
      {
        type: "button",
        class: getWordClass(explanation.unknown[word]),
        "aria-pressed": String(deleted.has(word)),
        "data-number": word,
        click: () => toggleWord(word, deleted, entry),
      },
      makeWord(text, explanation.unknown[word]),
    ),
  );
  const width = measureWidth(container) / (sideBySide && innerWidth > 900 ? 2 : 1) - 24;
  const picture = drawCurve(whatIf, step, width);
  return makePanel({
    entry,
    subject: "What if",
    sideBySide,
    body: element("div", {}, words, predictionLine, picture),
    note: "At random: the mean, the lowest and the highest of 5 orders.",
    getPicture: () => picture,
    getRows: () => makeRows(whatIf),
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

function toggleWord(word, deleted, entry) {
  const without = new Set(deleted);
  if (!without.delete(word)) without.add(word);
  if (without.size >= entry.explanation.words.length) return; // one word always stays
  const run = entry.runNumber;
  change({ without: without.size ? without : null, count: without.size ? state.count : 0 });
  document.querySelector(`#what-if .panel[data-run="${run}"] [data-number="${word}"]`)?.focus();
}

function drawCurve(whatIf, step, width) {
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
  const description =
    `${capitalize(NOUN)} of ${cleanText(whatIf.followed)} as words are deleted: by ${state.order} it goes from ` +
    `${formatShare(scoreLine.y[0])} to ${formatShare(scoreLine.y.at(-1))}, ` +
    `at random to ${formatShare(randomLine.y.at(-1))}`;
  return drawChart({
    lines: [randomLine, scoreLine],
    width: Math.min(width, 720),
    height: 230,
    description,
    xTitle: "words deleted",
    yTitle: `${NOUN} of ${cleanText(whatIf.followed)}`,
    formatY: (value) => formatShare(value),
    yMin: isRegression ? null : 0,
    yMax: isRegression ? null : 1,
    markedX: state.without ? null : whatIf.counts[step],
  });
}

// Writes what the model predicts without the deleted words. Only a server can answer any choice of words.
async function showPrediction(line, entry, deleted, step, request) {
  const { whatIf, run } = entry;
  const { predictions, probability, counts } = whatIf;
  if (!state.without) {
    const [mean, low, high] = [whatIf.random, whatIf.random_low, whatIf.random_high].map((shares) =>
      formatShare(shares[step]),
    );
    const comparison = step ? `; at random ${mean} on average (${low} to ${high})` : "";
    writePrediction(line, whatIf, predictions[state.order][step], probability[state.order][step], comparison);
    return;
  }
  if (payload.live) {
    const { signal } = controller;
    line.textContent = WAITING;
    try {
      const words = [...deleted].sort((one, other) => one - other);
      const answer = await fetchPrediction(run, request, words, signal);
      writePrediction(line, whatIf, answer.prediction, answer.followed, "");
    } catch (error) {
      if (!signal.aborted) line.textContent = error.message;
    }
    return;
  }
  const matchingOrder = Object.entries(whatIf.orders).find(
    ([, order]) => counts.includes(deleted.size) && order.slice(0, deleted.size).every((word) => deleted.has(word)),
  );
  if (deleted.size === 1 && whatIf.alone) {
    const [word] = deleted;
    line.replaceChildren(
      `Without this word the ${NOUN} of `,
      element("b", {}, cleanText(whatIf.followed)),
      ` is ${formatShare(whatIf.alone[word], 1)}, with all words ${formatShare(probability.capacity[0], 1)}.`,
    );
  } else if (matchingOrder) {
    const [name] = matchingOrder;
    const matchingStep = counts.indexOf(deleted.size);
    writePrediction(line, whatIf, predictions[name][matchingStep], probability[name][matchingStep], "");
  } else {
    line.textContent =
      "This file holds the slider's steps and single words; `safr explore` without --export answers any choice.";
  }
}

// Repeats the predictions in a line that stays. Screen readers don't notice those in the panels, which are made anew.
function announcePredictions() {
  const texts = [...document.querySelectorAll("#what-if .predicted")].map((line) => line.textContent);
  if (!texts.includes(WAITING)) byId("told").textContent = texts.join("; ");
}

function writePrediction(line, whatIf, prediction, share, comparison) {
  const changed = prediction !== whatIf.followed;
  const whole = whatIf.probability.capacity[0];
  if (share === whole && !comparison) {
    line.replaceChildren(
      "predicted ",
      element("b", {}, cleanText(prediction)),
      `; ${NOUN} ${formatShare(share, 1)}`,
    );
    return;
  }
  const shares = `${formatShare(share, 1)}, with all words ${formatShare(whole, 1)}`;
  line.replaceChildren(
    "now predicted ",
    element("b", { class: changed ? "wrong" : "" }, cleanText(prediction)),
    changed ? " (changed)" : "",
    `; ${NOUN} of ${cleanText(whatIf.followed)} ${shares}${comparison}`,
  );
}

function formatShare(share, decimals = 0) {
  return isRegression ? formatNumber(share) : formatPercent(share, decimals);
}

function capitalize(word) {
  return word[0].toUpperCase() + word.slice(1);
}

// The step whose count of deleted words is nearest.
function findNearestStep(counts, target) {
  let nearest = 0;
  counts.forEach((count, step) => {
    if (Math.abs(count - target) < Math.abs(counts[nearest] - target)) nearest = step;
  });
  return nearest;
}
