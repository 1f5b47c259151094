// Plays how the words of a few sentences parted while the runs were trained, epoch by epoch.

import { byId, element, setOptions } from "./elements.js";
import { cleanText, formatNumber, formatPercent, shorten } from "./numbers.js";
import { isRegression, payload } from "./source.js";
import { update } from "./update.js";

const PAUSE = 600; // milliseconds between two epochs
const LETTERS = 60; // of a sentence, in the list to choose from

let runs = [];
let text = 0; // number of the sentence
let epoch = null; // null: the last one
let timer = null; // while it plays

export function hasWordHistories() {
  return Object.keys(payload.word_histories).length > 0;
}

export function setUpScrubber() {
  byId("epoch").addEventListener("input", (event) => {
    stop();
    showEpoch(Number(event.target.value));
  });
  byId("followed").addEventListener("change", (event) => {
    text = Number(event.target.value);
    drawPanels();
  });
  byId("play").addEventListener("click", () => (timer === null ? play() : stop()));
}

export function drawScrubber(shownRuns) {
  runs = shownRuns;
  const [history] = listHistories();
  for (const id of ["followed", "epoch"]) byId(id).disabled = !history;
  byId("play").disabled = !history;
  if (history) {
    const names = history.texts.map(({ words }, number) => [String(number), shorten(words.join(" "), LETTERS)]);
    text = Math.min(text, names.length - 1);
    setOptions(byId("followed"), names, String(text));
    byId("epoch").max = findLastEpoch();
  }
  drawPanels();
}

function listHistories() {
  return runs.map((run) => payload.word_histories[run]).filter(Boolean);
}

function findLastEpoch() {
  return Math.max(...listHistories().map(({ epochs }) => epochs.at(-1).epoch));
}

function showEpoch(number) {
  epoch = number;
  drawPanels();
}

function play() {
  const last = findLastEpoch();
  if (getEpoch() >= last) showEpoch(0);
  byId("play").textContent = "Pause";
  timer = setInterval(() => {
    const isOpen = byId("parting").querySelector("details").open;
    if (isOpen && getEpoch() < last) showEpoch(getEpoch() + 1);
    if (!isOpen || getEpoch() >= last) stop();
  }, PAUSE);
}

function stop() {
  clearInterval(timer);
  timer = null;
  byId("play").textContent = "Play";
}

function getEpoch() {
  return Math.min(epoch ?? Infinity, findLastEpoch());
}

function drawPanels() {
  if (listHistories().length) {
    byId("epoch").value = getEpoch();
    const said = getEpoch() === 0 ? "before training" : `after epoch ${getEpoch()} of ${findLastEpoch()}`;
    if (byId("epoch-said").textContent !== said) byId("epoch-said").textContent = said;
    byId("epoch").setAttribute("aria-valuetext", said);
  }
  update(byId("parting").querySelector(".panels"), ...runs.map(makePanelOfRun));
}

function makePanelOfRun(run) {
  const history = payload.word_histories[run];
  const runNumber = payload.runs.findIndex(({ name }) => name === run);
  const name = runs.length > 1 ? element("h3", {}, run) : null;
  const attributes = { class: "panel", key: run, "data-run": runNumber };
  const followed = history?.texts[text];
  if (!followed)
    return element("div", attributes, name, element("p", { class: "none" }, `${run} has no such history.`));
  const number = Math.max(history.epochs.findLastIndex((line) => line.epoch <= getEpoch()), 0);
  const line = history.epochs[number];
  const hasEnded = getEpoch() > history.epochs.at(-1).epoch;
  const parts = [0, 1].map((part) =>
    element(
      "div",
      { class: "risers", dir: "auto", key: `${text} ${part}` },
      followed.words
        .map((word, place) => [word, place])
        .filter(([, place]) => followed.text_of_word[place] === part)
        .map(([word, place]) => makeRiser(word, place, line.capacity[text][place])),
    ),
  );
  return element("div", attributes, name, describeEpoch(history, line, hasEnded), parts);
}

function describeEpoch({ metric }, { epoch: number, prediction, probability, accuracy }, hasEnded) {
  const share = isRegression ? formatNumber(probability[text]) : formatPercent(probability[text], 1);
  const format = metric === "accuracy" ? (value) => formatPercent(value, 1) : formatNumber;
  return element(
    "p",
    { class: "predicted" },
    "predicted ",
    element("b", {}, cleanText(prediction[text])),
    isRegression ? "" : ` ${share}`,
    element(
      "span",
      { class: "faint" },
      accuracy === null ? "" : ` · ${metric.replaceAll("_", " ")} on the dev split ${format(accuracy)}`,
      hasEnded ? ` · training had ended after epoch ${number}` : "",
    ),
  );
}

// A word under a bar as high as its capacity, on a scale from 0 to 1.
function makeRiser(word, place, capacity) {
  const riser = element(
    "span",
    { class: "riser", key: String(place) },
    element("span", { class: "shaft", "aria-hidden": "true" }, element("span", { class: "rise" })),
    element("bdi", {}, cleanText(word)),
    element("span", { class: "value" }, capacity === null ? "none" : capacity.toFixed(2)),
  );
  riser.style.setProperty("--share", String(capacity ?? 0));
  return riser;
}
