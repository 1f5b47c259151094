// Says which words are deleted, and what a run predicts without them: from what is computed, or from the server.

import { guessPrediction } from "./explanations.js";
import { fetchFlip, fetchPrediction, isRegression, payload } from "./source.js";
import { change, state } from "./state.js";

// Whether words of the text can be deleted; a notebook's page has no model to ask.
export function canDelete({ whatIf }) {
  return payload.live || whatIf !== null;
}

export function findDeleted({ whatIf, explanation }) {
  const order = whatIf?.orders[state.order] ?? [];
  const words = state.without ?? order.slice(0, whatIf ? whatIf.counts[findNearestStep(whatIf.counts, state.count)] : 0);
  return new Set([...words].filter((word) => word < explanation.words.length));
}

export function toggleWord(word, entry) {
  const without = findDeleted(entry);
  if (!without.delete(word)) without.add(word);
  if (without.size >= entry.explanation.words.length) return; // one word always stays
  change({ without: without.size ? without : null, count: without.size ? state.count : 0 });
}

export function stepTo(step, entries) {
  change({ count: listCounts(entries)[step], without: null });
}

// Goes on from what is deleted now, by the slider or by clicks.
export function stepBy(steps, entries) {
  const counts = listCounts(entries);
  const step = findNearestStep(counts, state.without ? state.without.size : state.count) + steps;
  stepTo(Math.min(Math.max(step, 0), counts.length - 1), entries);
}

function listCounts(entries) {
  return entries.find(({ whatIf }) => whatIf)?.whatIf.counts ?? [0];
}

// The step whose count of deleted words is nearest.
export function findNearestStep(counts, target) {
  let nearest = 0;
  counts.forEach((count, step) => {
    if (Math.abs(count - target) < Math.abs(counts[nearest] - target)) nearest = step;
  });
  return nearest;
}

// What random deletion of about as many words comes to: the count that was tried, the mean, the lowest and the highest.
export function findRandom({ counts, random, random_low: low, random_high: high }, count) {
  const step = findNearestStep(counts, count);
  return { count: counts[step], mean: random[step], low: low[step], high: high[step] };
}

// What a run predicts without some words: `prediction`, null where only the value is known, the value that is
// `followed`, and whether it is an `estimate`; null where a file knows nothing of these words.
export async function predictWithout(entry, deleted, request, signal) {
  const stored = findStored(entry, deleted);
  if (stored) return stored;
  if (!payload.live) return estimate(entry, deleted);
  const words = [...deleted].sort((one, other) => one - other);
  const { prediction, followed } = await fetchPrediction(entry.run, request, words, signal);
  return { prediction, followed, estimate: false };
}

// Few words without which the run says something else, found in the order of the chosen score. A server looks for them;
// a file knows its steps and single words. `note` says how they were found, and that there may be fewer.
export async function findFlip(entry, request) {
  const { run } = entry;
  const deleted = payload.live
    ? (await fetchFlip(run, request, state.order)).deleted
    : findStoredFlip(entry, entry.whatIf.orders[state.order] ? state.order : "capacity");
  if (!deleted.length) return { deleted, note: `${run} says the same however many words are deleted by ${state.order}.` };
  const words = deleted.length === 1 ? "This word" : `These ${deleted.length} words`;
  const flips = deleted.length === 1 ? "flips" : "flip";
  const how = payload.live
    ? `found by ${state.order}, and each that was not needed was put back. There may be a smaller set.`
    : `the fewest among this file's steps by ${state.order} and single words; \`safr explore\` looks for fewer.`;
  return { deleted, note: `${words} ${flips} what ${run} says: ${how}` };
}

function findStoredFlip({ whatIf, explanation }, order) {
  const { followed, alone, counts, orders, predictions } = whatIf;
  const guesses = (alone ?? []).map((share) => guessPrediction(explanation, whatIf.followed, share));
  const single = orders[order].find((word) => guesses[word] && guesses[word] !== followed);
  if (single !== undefined) return [single];
  const step = predictions[order].findIndex((prediction) => prediction !== followed);
  return step < 0 ? [] : orders[order].slice(0, counts[step]);
}

// The slider's steps, and in a file each word alone.
function findStored({ whatIf, explanation }, deleted) {
  if (!whatIf) return null;
  for (const [name, order] of Object.entries(whatIf.orders)) {
    const step = whatIf.counts.indexOf(deleted.size);
    if (step < 0 || !order.slice(0, deleted.size).every((word) => deleted.has(word))) continue;
    const [prediction, followed] = [whatIf.predictions[name][step], whatIf.probability[name][step]];
    return { prediction, followed, estimate: false };
  }
  if (payload.live || deleted.size !== 1 || !whatIf.alone) return null;
  const [followed] = [...deleted].map((word) => whatIf.alone[word]);
  return { prediction: guessPrediction(explanation, whatIf.followed, followed), followed, estimate: false };
}

// Adds up what the words change alone: of probabilities on the scale of log odds, of numbers as they are.
function estimate({ whatIf, explanation }, deleted) {
  if (!whatIf?.alone) return null;
  const [toScale, fromScale] = isRegression ? [(value) => value, (value) => value] : [logit, sigmoid];
  const whole = toScale(Object.values(whatIf.probability)[0][0]);
  const sum = [...deleted].reduce((total, word) => total + toScale(whatIf.alone[word]) - whole, whole);
  if (!Number.isFinite(sum)) return null;
  const followed = fromScale(sum);
  return { prediction: guessPrediction(explanation, whatIf.followed, followed), followed, estimate: true };
}

function logit(share) {
  const inside = Math.min(Math.max(share, 1e-4), 1 - 1e-4); // what is kept has four digits
  return Math.log(inside / (1 - inside));
}

function sigmoid(value) {
  return 1 / (1 + Math.exp(-value));
}
