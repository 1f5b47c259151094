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
  const { explanation } = entry;
  if (explanation.words.length < 2) return ["The text is a single word, so there is nothing to compare it with. "];
  const relevance = hasRelevance(explanation) ? sayRelevance(entry) : [];
  const capacity = sayCapacity(entry);
  return chooseScore(entry) === "relevance" ? [...relevance, ...capacity] : [...capacity, ...relevance];
}

function sayCapacity(entry) {
  const { explanation } = entry;
  const values = getScore(entry, "capacity");
  if (!values?.some((value) => value !== null)) return [];
  const word = findLargest(values);
  const value = values[word];
  const named = nameWord(explanation, word);
  const number = [" (", makeTerm("capacity"), ` ${value.toFixed(2)} of 1). `];
  if (value >= PARTLY_ALONE) {
    const how = value >= ALONE ? "of its own" : value >= ALMOST_ALONE ? "almost of its own" : "partly of its own";
    return [...named, ` has the most room inside the model, a direction ${how}`, ...number];
  }
  return ["Inside the model no word has a direction of its own; ", ...named, " comes closest", ...number];
}

function sayRelevance(entry) {
  const { explanation } = entry;
  const values = getScore(entry, "relevance");
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

// What the answer comes to without the first word, the first three, and as many as SRS deletes, then beside that without
// as many by the other score and at random.
function sayDeletion(entry) {
  const { whatIf } = entry;
  if (!whatIf || entry.explanation.words.length < 2) return [];
  const { main, counts, followed, orders, probability, predictions, random } = whatIf;
  if (!main) return ["No word of it can be deleted."];
  const score = chooseScore(entry) in orders ? chooseScore(entry) : "capacity";
  const deleted = [...[1, 3].filter((count) => count < main && counts.includes(count)), main];
  const steps = deleted.map((count) => counts.indexOf(count));
  const others = ["capacity", "relevance"].filter((name) => name !== score && name in orders);
  const step = steps.at(-1);
  const beside = [...others.map((name) => probability[name][step]), random[step]];
  const left = steps.map((number) => probability[score][number]);
  if ([...left, ...beside].includes(null)) return [];
  const changed = steps.find((number) => predictions[score][number] !== followed);
  const comparisons = [...others.map((name) => `the ${main} of highest ${name}`), formatCount(main, "random word")];
  const said = [
    `Without the ${main === 1 ? "word" : `${list(deleted)} words`} of highest ${score}, `,
    `${isRegression ? "it predicts" : `${nameClass(followed)} gets`} ${list(left.map((share) => formatShare(share)))}`,
    ...(changed === undefined || isRegression
      ? []
      : [
          ", and it says ",
          element("b", { class: "wrong" }, cleanText(predictions[score][changed])),
          ` from ${formatCount(counts[changed], "word")} on`,
        ]),
    `; without ${comparisons.map((name, index) => `${name} ${formatShare(beside[index])}`).join(", without ")}.`,
  ];
  return said.map((part) => (typeof part === "string" ? part.replaceAll(" %", "\u00a0%") : part)); // stay on one line
}

function nameClass(name) {
  return payload.task === "generation" ? `“${cleanText(name)}”` : cleanText(name);
}

// As in "1, 3 and 8".
function list(parts) {
  return parts.length < 2 ? String(parts[0]) : `${parts.slice(0, -1).join(", ")} and ${parts.at(-1)}`;
}

// Which of two runs leans on fewer words: in how few lies half of all that speaks for the answer, or of all capacity.
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
      ? `Both lean on as many words: ${half} lies in ${first} of each.`
      : `${leaner} leans on fewer words: ${half} lies in ${first} of ${one} and in ${second} of ${other}.`;
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
