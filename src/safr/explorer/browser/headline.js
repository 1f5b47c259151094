// Says in a few sentences for each run what the model says about the text, which word counts most for that and which has
// the most room inside the model, and what becomes of the answer without such words; then how two runs differ. All
// numbers are those of the text.

import { element } from "./elements.js";
import { findLargestSize, formatShare, judgeAnswer } from "./explanations.js";
import { makeTerm } from "./glossary.js";
import { cleanText, formatCount, formatNumber, MINUS, UNKNOWN_MEANING } from "./numbers.js";
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

// `label` is that of the text, or null.
export function drawHeadlines(container, entries, label) {
  update(
    container,
    ...entries.map((entry) =>
      element("p", { class: "headline", key: entry.run }, sayPrediction(entry, label), sayWords(entry), sayDeletion(entry)),
    ),
    compareRuns(entries),
  );
}

// The score that the sentences are about: relevance if it is shown, and else capacity.
function chooseScore({ explanation }) {
  return state.measure === "relevance" && hasRelevance(explanation) ? "relevance" : "capacity";
}

// The words' capacity at the run's own site, or their relevance for its answer.
function getScore({ run, explanation }, score) {
  if (score === "relevance") return explanation.relevance[explanation.predicted];
  const { site } = payload.runs.find(({ name }) => name === run);
  return explanation.sites[site]?.capacity;
}

function hasRelevance({ relevance, predicted }) {
  return Boolean(relevance[predicted]);
}

function sayPrediction({ run, explanation }, label) {
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
    label === null ? "" : sayVerdict(answer, label),
    ". ",
  ];
}

// Of both scores, the shown one first: what counts for the answer need not have room inside the model.
function sayWords(entry) {
  const { explanation, whatIf } = entry;
  if (explanation.words.length < 2) return ["The text is a single word, so there is nothing to compare it with. "];
  const scores = chooseScore(entry) === "relevance" ? ["relevance", "capacity"] : ["capacity", "relevance"];
  const [first, second] = scores.map((score) => whatIf?.orders[score]?.[0]);
  return [...sayWord(entry, scores[0], true), ...sayWord(entry, scores[1], first !== second)];
}

// The word of the highest score, and with `isDeleted` what the answer comes to without it.
function sayWord(entry, score, isDeleted) {
  if (score === "capacity") return sayCapacity(entry, isDeleted);
  return hasRelevance(entry.explanation) ? sayRelevance(entry, isDeleted) : [];
}

function sayCapacity(entry, isDeleted) {
  const { explanation } = entry;
  const values = getScore(entry, "capacity");
  if (!values?.some((value) => value !== null)) return [];
  const word = findLargest(values);
  const value = values[word];
  const named = nameWord(explanation, word);
  const effect = isDeleted ? sayWithoutWord(entry, "capacity", word) : [];
  const number = [" (", makeTerm("capacity"), ` ${value.toFixed(2)} of 1)`, ...effect, ". "];
  if (value >= PARTLY_ALONE) {
    const how = value >= ALONE ? "of its own" : value >= ALMOST_ALONE ? "almost of its own" : "partly of its own";
    return [...named, ` has the most room inside the model, a direction ${how}`, ...number];
  }
  return ["Inside the model no word has a direction of its own; ", ...named, " comes closest", ...number];
}

function sayRelevance(entry, isDeleted) {
  const { explanation } = entry;
  const values = getScore(entry, "relevance");
  const faint = payload.look.faint * findLargestSize(values);
  const [most, least] = [findLargest(values), findLargest(values.map((value) => (value === null ? null : -value)))];
  const [isFor, isAgainst] = [values[most] > faint, values[least] < -faint];
  if (!isFor && !isAgainst) return ["No word speaks for this answer or against it. "];
  const forIt = [...nameWord(explanation, most), " speaks most for this answer (", makeTerm("relevance"), ` ${sign(values[most])})`];
  const effect = isDeleted ? sayWithoutWord(entry, "relevance", most) : [];
  const against = [...nameWord(explanation, least), ` speaks most against ${isFor ? "it" : "this answer"} (${sign(values[least])}). `];
  return [...(isFor ? [...forIt, ...effect, ". "] : []), ...(isAgainst ? against : [])];
}

// What the answer comes to without the word of the highest score. Where SRS deletes one word, `sayDeletion` says it.
function sayWithoutWord({ whatIf }, score, word) {
  if (!whatIf || whatIf.main < 2 || whatIf.orders[score]?.[0] !== word) return [];
  const effect = sayEffect(whatIf, score, whatIf.counts.indexOf(1));
  return effect.length ? [": without it ", ...effect] : [];
}

// What the answer comes to without as many words as SRS deletes, by the shown score, by the other and at random.
function sayDeletion(entry) {
  const { whatIf } = entry;
  if (!whatIf || entry.explanation.words.length < 2) return [];
  const { main, counts, orders, probability, random } = whatIf;
  if (!main) return ["No word of it can be deleted."];
  const score = chooseScore(entry) in orders ? chooseScore(entry) : "capacity";
  const others = ["capacity", "relevance"].filter((name) => name !== score && name in orders);
  const step = counts.indexOf(main);
  const beside = [...others.map((name) => probability[name][step]), random[step]];
  const effect = sayEffect(whatIf, score, step);
  if (!effect.length || beside.includes(null)) return [];
  const comparisons = [...others.map((name) => `the ${main} of highest ${name}`), formatCount(main, "random word")];
  return [
    `Without the ${main === 1 ? "word" : `${main} words`} of highest ${score} `,
    ...effect,
    keepTogether(`; without ${comparisons.map((name, index) => `${name} ${formatShare(beside[index])}`).join(", without ")}.`),
  ];
}

// What the model gives the answer at a step of the deletion, and what it says instead; empty where that is no number.
function sayEffect({ followed, probability, predictions }, score, step) {
  const share = probability[score]?.[step] ?? null;
  if (share === null) return [];
  if (isRegression) return [`the model predicts ${formatNumber(share)}`];
  const said = predictions[score][step];
  return [
    keepTogether(`${nameClass(followed)} gets ${formatShare(share)}`),
    ...(said === followed ? [] : [", and the model says ", element("b", { class: "wrong" }, cleanText(said))]),
  ];
}

// A number and its per cent sign stay on one line.
function keepTogether(text) {
  return text.replaceAll(" %", "\u00a0%");
}

function nameClass(name) {
  return payload.task === "generation" ? `“${cleanText(name)}”` : cleanText(name);
}

// Which of two runs relies on fewer words: in how few lies half of all that speaks for the answer, or of all capacity.
function compareRuns(entries) {
  if (entries.length !== 2) return null;
  const score = entries.every((entry) => chooseScore(entry) === "relevance") ? "relevance" : "capacity";
  const counts = entries.map((entry) => countHalf(entry, score));
  if (counts.includes(0)) return null;
  const [one, other] = entries.map(({ run }) => run);
  const half = score === "relevance" ? "half of what speaks for its answer" : "half of all capacity";
  const [first, second] = counts.map((count) => formatCount(count, "word"));
  const leaner = counts[0] < counts[1] ? one : other;
  const said =
    counts[0] === counts[1]
      ? `Both rely on equally many words: ${half} lies in ${first} of each.`
      : `${leaner} relies on fewer words: ${half} lies in ${first} of ${one} and in ${second} of ${other}.`;
  return element("p", { class: "headline", key: "comparison" }, said);
}

// The smallest number of words that hold half of the sum; 0 where there is none.
function countHalf(entry, score) {
  const positive = (getScore(entry, score) ?? []).filter((value) => value > 0).sort((one, other) => other - one);
  const half = positive.reduce((sum, value) => sum + value, 0) / 2;
  let sum = 0;
  return positive.findIndex((value) => (sum += value) >= half) + 1;
}

function sayVerdict(answer, label) {
  const { isRight, labelName } = judgeAnswer(answer, label);
  if (isRegression) return ` (the label is ${labelName})`;
  return isRight ? " (right)" : ` (wrong, the label is ${labelName})`;
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
