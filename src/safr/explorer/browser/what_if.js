// Draws the deletion of words under the sentence: the slider, and for each run the prediction beside its random twin.

import { canDelete, findDeleted, findFlip, findNearestStep, findRandom, predictWithout } from "./deletion.js";
import { byId, element, setOptions } from "./elements.js";
import { formatShare, MEASURES } from "./explanations.js";
import { cleanText, formatCount } from "./numbers.js";
import { isRegression, payload } from "./source.js";
import { change, state } from "./state.js";
import { update } from "./update.js";

const ESTIMATED =
  "≈ is an estimate, the sum of what each word changes alone: this file holds the slider's steps and single words; " +
  "`safr explore` without --export answers any choice.";
const KEY = "The tick is the answer with all words, and the thin line spans the random draws.";
const NOT_KNOWN = "This file holds the slider's steps; `safr explore` without --export answers any choice of words.";

// Which words an order deletes first.
const ORDERS = {
  capacity: "highest capacity",
  relevance: "highest relevance",
  keep: "highest keep probability",
};

const WAITING = "…";
let controller = null; // aborts the questions to the server that are still open
let flip = { without: null, note: "" }; // the last words that flip the answer, and how they were found
let drawn = { entries: [], request: null };

// Deletes few words without which the main run says something else.
export async function flipAnswer() {
  const { entries, request } = drawn;
  try {
    const { deleted, note } = await findFlip(entries[0], request);
    if (drawn.entries !== entries) return; // another text was opened
    flip = { without: deleted.length ? new Set(deleted) : null, note };
    if (deleted.length) change({ without: flip.without });
    else say(note);
  } catch (error) {
    say(error.message);
  }
}

function say(note) {
  byId("deletion-note").textContent = note;
  announce();
}

export function drawWhatIf(entries, request) {
  drawn = { entries, request };
  byId("flip").hidden = isRegression;
  byId("flip").disabled = !entries[0]?.whatIf;
  const first = entries.find(({ whatIf }) => whatIf)?.whatIf ?? null;
  byId("deletion").hidden = byId("effects").hidden = !entries.some(canDelete);
  if (first) drawSlider(first, entries);
  controller?.abort();
  controller = new AbortController();
  const { signal } = controller;
  const known = entries.filter(({ whatIf }) => whatIf);
  if (!known.length && payload.live) {
    // The server is still computing. What it said of the text before is not about this one.
    update(byId("effects"), []);
    byId("count-said").textContent = "…";
    return;
  }
  const panels = known.map((entry) => makeEffectPanel(entry, WAITING, null));
  if (!byId("effects").children.length) update(byId("effects"), panels);
  Promise.all(known.map((entry) => answer(entry, request, signal))).then((answers) => {
    if (signal.aborted) return;
    update(
      byId("effects"),
      known.map((entry, index) => makeEffectPanel(entry, ...answers[index])),
    );
    say(chooseNote(known, answers));
  });
}

// What has to be said of the answers, the most important first; else how to read the bars.
function chooseNote(entries, answers) {
  if (answers.some(([, found]) => found === null) && !payload.live) return NOT_KNOWN;
  if (answers.some(([, found]) => found?.estimate)) return ESTIMATED;
  if (state.without !== null && state.without === flip.without) return flip.note;
  return entries.some((entry) => findDeleted(entry).size) ? KEY : "";
}

function drawSlider(first, entries) {
  const orders = [...new Set(entries.flatMap(({ whatIf }) => Object.keys(whatIf?.orders ?? {})))];
  if (!orders.includes(state.order)) state.order = "capacity";
  setOptions(
    byId("order"),
    orders.map((name) => [name, ORDERS[name]]),
    state.order,
  );
  byId("order").disabled = orders.length < 2;
  const step = findNearestStep(first.counts, state.count);
  const slider = byId("count");
  slider.max = first.counts.length - 1;
  slider.value = state.without ? 0 : step;
  const count = state.without ? state.without.size : first.counts[step];
  const isSrs = count > 0 && count === first.main && !state.without && state.order === "capacity";
  const remark = isSrs ? ", as SRS(30) does" : "";
  const said = `${count} of ${formatCount(entries[0].explanation.words.length, "word")}${remark}`;
  byId("count-said").textContent = said;
  slider.setAttribute("aria-valuetext", said);
  byId("restore").disabled = byId("fewer").disabled = count === 0;
  byId("more").disabled = step === first.counts.length - 1 && !state.without;
}

// What a run predicts, as the text of a line and what was found out, or the message of an error and null.
async function answer(entry, request, signal) {
  const deleted = findDeleted(entry);
  try {
    const found = await predictWithout(entry, deleted, request, signal);
    return [found ? "" : "not in this file", found];
  } catch (error) {
    return [error.message, null];
  }
}

function makeEffectPanel(entry, message, found) {
  const { whatIf, run, runNumber } = entry;
  const count = findDeleted(entry).size;
  const whole = Object.values(whatIf.probability)[0][0];
  const random = findRandom(whatIf, count);
  const scale = findScale(whatIf);
  const rows = [
    [count ? `without ${nameDeleted(count)}` : "with all words", found?.followed ?? null, null, found?.estimate],
    ...(count ? [[`without ${formatCount(random.count, "random word")}`, random.mean, random, false]] : []),
  ];
  return element(
    "div",
    { class: "effect-of-run", "data-run": runNumber, key: `effect ${run}` },
    element("p", { class: "predicted", key: "predicted" }, ...(found ? describe(whatIf, found, count) : [message])),
    element(
      "div",
      { class: "effect-bars", key: "bars" },
      rows.flatMap(([name, value, range, isEstimate], index) => [
        element("span", { key: `name ${index}`, class: "effect-name" }, name),
        makeTrack({ key: `track ${index}`, value, whole, range, scale, isRandom: index === 1 }),
        element("span", { key: `value ${index}`, class: "effect-value" }, formatValue(value, range, isEstimate)),
      ]),
    ),
  );
}

function nameDeleted(count) {
  if (state.without) return count === 1 ? "this word" : `these ${count} words`;
  return `${formatCount(count, "word")} of highest ${MEASURES[state.order].toLowerCase()}`;
}

function makeTrack({ key, value, whole, range, scale, isRandom }) {
  const fill = element("span", { class: isRandom ? "fill by-chance" : "fill" });
  const zero = scale(0);
  const end = scale(value ?? 0);
  setPlace(fill, Math.min(zero, end), Math.abs(end - zero));
  const tick = element("span", { class: "whole-tick" });
  setPlace(tick, scale(whole), null);
  const line = range ? element("span", { class: "spread" }) : null;
  if (line) setPlace(line, scale(range.low), scale(range.high) - scale(range.low));
  return element("span", { key, class: "track", "aria-hidden": "true" }, fill, tick, line);
}

function setPlace(node, left, width) {
  node.style.left = `${(100 * left).toFixed(2)}%`;
  if (width !== null) node.style.width = `${(100 * width).toFixed(2)}%`;
}

// From a value to its place on the track, in [0, 1]. All that the slider can reach has a place on it.
function findScale({ probability, random_low: lows, random_high: highs }) {
  if (!isRegression) return (value) => value ?? 0;
  const values = [0, ...Object.values(probability).flat(), ...lows, ...highs].filter(Number.isFinite);
  const [low, high] = [Math.min(...values), Math.max(...values)];
  return (value) => Math.min(Math.max(((value ?? 0) - low) / (high - low || 1), 0), 1);
}

function formatValue(value, range, isEstimate) {
  const text = `${isEstimate ? "≈ " : ""}${formatShare(value)}`;
  return range && range.low !== range.high ? `${text} (${formatShare(range.low)} to ${formatShare(range.high)})` : text;
}

function describe(whatIf, { prediction, followed, estimate }, count) {
  const noun = isRegression ? "the value" : `the probability of ${cleanText(whatIf.followed)}`;
  const value = `${noun} is ${estimate ? "about " : ""}${formatShare(followed)}`;
  if (!count) return [`With all words ${value}.`];
  const whole = formatShare(Object.values(whatIf.probability)[0][0]);
  const comparison = `, with all words ${whole}.`;
  if (prediction === null || isRegression) return [`Without ${nameDeleted(count)} ${value}${comparison}`];
  const changed = prediction !== whatIf.followed;
  return [
    `Without ${nameDeleted(count)} it says `,
    element("b", { class: changed ? "wrong" : "" }, cleanText(prediction)),
    changed ? " (changed)" : "",
    `; ${value}${comparison}`,
  ];
}

// Repeats the predictions in a line of its own that screen readers follow.
function announce() {
  const texts = [...document.querySelectorAll("#effects .predicted")].map((line) => line.textContent);
  const note = byId("deletion-note").textContent;
  byId("told").textContent = [...texts, note === KEY ? "" : note].filter(Boolean).join(" ");
}
