// Says in a few sentences for each run what the model says about the text, which word counts most for that and which has
// most room inside the model, and what becomes of the answer without such words. All numbers are those of the text.

import { element } from "./elements.js";
import { findLargestSize } from "./explanations.js";
import { makeTerm } from "./glossary.js";
import { cleanText, formatCount, formatNumber, formatPercent, MINUS, UNKNOWN_MEANING } from "./numbers.js";
import { isRegression, payload } from "./source.js";
import { state } from "./state.js";
import { update } from "./update.js";

const ALONE = 0.95; // capacity from which a word has a direction of its own
const ALMOST_ALONE = 0.6;
const PARTLY_ALONE = 0.35;

// What a model does with a text, by its task.
const VERBS = {
  regression: "predicts",
  generation: "would write next",
  token_classification: "tags the word in brackets",
  question_answering: "answers",
  multiple_choice: "picks",
};

export function drawHeadlines(container, entries) {
  update(
    container,
    entries.map((entry) =>
      element("p", { class: "headline", key: entry.run }, sayPrediction(entry), sayWords(entry), sayDeletion(entry)),
    ),
  );
}

// The score that the sentences are about: relevance if it is shown, and else capacity.
function chooseScore({ explanation }) {
  return state.measure === "relevance" && hasRelevance(explanation) ? "relevance" : "capacity";
}

function hasRelevance({ relevance, predicted }) {
  return Boolean(relevance[predicted]);
}

function sayPrediction({ run, explanation }) {
  const { prediction, answer, shares, predicted } = explanation;
  const isMultiLabel = payload.task === "multi_label";
  const said = isMultiLabel ? answer || "none of the classes" : prediction;
  const share = shares[predicted];
  return [
    element("span", { class: "run-name" }, payload.data || payload.runs.length > 1 ? run : "The model"),
    ` ${VERBS[payload.task] ?? "says"} `,
    element("b", {}, isRegression ? formatNumber(share) : cleanText(said)),
    isRegression ? "" : isMultiLabel && said !== prediction ? ` (${cleanText(prediction)} ` : ", ",
    isRegression ? "" : formatShare(share),
    !isRegression && isMultiLabel && said !== prediction ? ")" : "",
    ". ",
  ];
}

// Of both scores, the shown one first: what counts for the answer need not have room inside the model.
function sayWords(entry) {
  const { explanation } = entry;
  if (explanation.words.length < 2) return ["The text is a single word, so there is nothing to compare it with. "];
  const relevance = hasRelevance(explanation) ? sayRelevance(explanation) : [];
  const capacity = sayCapacity(entry);
  return chooseScore(entry) === "relevance" ? [...relevance, ...capacity] : [...capacity, ...relevance];
}

function sayCapacity({ run, explanation }) {
  const { site } = payload.runs.find(({ name }) => name === run);
  const values = explanation.sites[site]?.capacity;
  if (!values?.some((value) => value !== null)) return [];
  const word = findLargest(values);
  const value = values[word];
  const named = nameWord(explanation, word);
  const number = [" (", makeTerm("capacity"), ` ${value.toFixed(2)} of 1). `];
  if (value >= PARTLY_ALONE) {
    const how = value >= ALONE ? "of its own" : value >= ALMOST_ALONE ? "almost of its own" : "partly of its own";
    return ["Most room inside the model has ", ...named, `, a direction ${how}`, ...number];
  }
  return ["Inside the model no word has a direction of its own; ", ...named, " comes closest", ...number];
}

function sayRelevance(explanation) {
  const values = explanation.relevance[explanation.predicted];
  const faint = payload.look.faint * findLargestSize(values);
  const [most, least] = [findLargest(values), findLargest(values.map((value) => (value === null ? null : -value)))];
  const parts = [];
  if (values[most] > faint)
    parts.push([...nameWord(explanation, most), " speaks most for this answer (", makeTerm("relevance"), ` ${sign(values[most])})`]);
  if (values[least] < -faint)
    parts.push([...nameWord(explanation, least), ` ${parts.length ? "" : "speaks "}most against ${parts.length ? "it" : "this answer"} (`, sign(values[least]), ")"]);
  if (!parts.length) return ["No word speaks for this answer or against it. "];
  return [...parts[0], ...(parts[1] ? [", ", ...parts[1]] : []), ". "];
}

function sayDeletion(entry) {
  const { whatIf } = entry;
  if (!whatIf || entry.explanation.words.length < 2) return [];
  if (!whatIf.main) return ["No word of it can be deleted."];
  const score = chooseScore(entry) in whatIf.orders ? chooseScore(entry) : "capacity";
  const step = whatIf.counts.indexOf(whatIf.main);
  const [whole, left, random] = [whatIf.probability[score][0], whatIf.probability[score][step], whatIf.random[step]];
  if ([whole, left, random].includes(null)) return [];
  const words = whatIf.main === 1 ? "the word" : `the ${whatIf.main} words`;
  const which = score === "relevance" ? "that speak most for it," : "of highest capacity";
  const prediction = whatIf.predictions[score][step];
  const result =
    prediction === whatIf.followed || isRegression
      ? [compare(left, whole)]
      : ["turns to ", element("b", { class: "wrong" }, cleanText(prediction)), ` (${cleanText(whatIf.followed)} ${formatShare(left)})`];
  return [
    `Without ${words} ${whatIf.main === 1 ? which.replace("speak", "speaks") : which} it `,
    ...result,
    `; without ${formatCount(whatIf.main, "random word")} it ${compare(random, whole)} on average.`,
  ];
}

// As in "falls to 58 %"; numbers that read the same stay the same.
function compare(share, whole) {
  const [now, before] = [formatShare(share), formatShare(whole)];
  if (now === before) return `stays at ${now}`;
  return `${share < whole ? "falls" : "rises"} to ${now}`;
}

function nameWord({ words, unknown }, word) {
  return [element("em", {}, element("bdi", {}, cleanText(words[word]))), unknown[word] ? ` (${UNKNOWN_MEANING})` : ""];
}

function findLargest(values) {
  return values.reduce((best, value, index) => ((value ?? -Infinity) > (values[best] ?? -Infinity) ? index : best), 0);
}

function sign(value) {
  return value < 0 ? `${MINUS}${formatNumber(-value)}` : `+${formatNumber(value)}`;
}

// Shares near 0 and 1 keep a digit, so that 99.7 % does not read as certain.
function formatShare(share) {
  if (isRegression) return formatNumber(share);
  const isNearEdge = (share > 0.99 && share < 1) || (share < 0.01 && share > 0);
  return formatPercent(share, isNearEdge ? 1 : 0);
}
