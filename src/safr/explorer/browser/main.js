// Starts the page, fetches the explanations of the chosen text, and draws all views again when the state changes.

import { setUpControls, setUpSentence } from "./controls.js";
import { drawBars } from "./bars.js";
import { drawCurves } from "./deletion_curve.js";
import { byId, element, setOptions } from "./elements.js";
import {
  formatMeasure,
  formatSiteTitle,
  getSiteData,
  getSiteName,
  listLayers,
  listMeasures,
  listSites,
  listTargets,
} from "./explanations.js";
import { setUpGlossary } from "./glossary.js";
import { drawGraph, makeGraphKey } from "./graph.js";
import { drawHeadlines } from "./headline.js";
import { drawKey } from "./key.js";
import { drawMatrix } from "./matrix.js";
import { drawNeurons } from "./neurons.js";
import { shorten } from "./numbers.js";
import { drawScores, hasScores } from "./scores.js";
import { drawScrubber, hasWordHistories, setUpScrubber } from "./scrubber.js";
import { drawSentence, LONG_TEXT } from "./sentence.js";
import { fetchEffects, fetchExplanation, fetchNeurons, fetchWhatIf, findRow, payload } from "./source.js";
import { change, listShownRuns, mark, onChange, readAddress, SITES, state } from "./state.js";
import { drawTexts, refreshTexts, setUpTexts } from "./texts.js";
import { setUpTour } from "./tour.js";
import { drawWhatIf } from "./what_if.js";
import { drawWordTable, hasWords, setUpWords } from "./words.js";

const EFFECTS_PAUSE = 1500; // milliseconds between two questions for the effects

const HINTS = {
  capacity: "The share of its own direction that each word has to itself: 1 alone, 1/n where n words coincide.",
  polysemanticity: "How much of the other words lies along each word's own direction.",
  keep: "How likely VMASK is to let each word pass.",
  relevance: "What each word adds to the class's logit, or below 0 takes from it.",
  occlusion: "How far the predicted class's probability falls when the word alone is deleted, or below 0 rises.",
  attention: "The attention that each word receives from all words on average, a mean over heads.",
};

let entries = []; // one entry for every run that is shown, with its explanation and what the views need
let controller = null; // aborts the request that is still open
let effectCount = 0; // effects that the table of texts shows

// Draws a section of the page, by its id. A section that is folded up is drawn when it is opened.
const SECTIONS = {
  graph: (section) => drawGraph(getPanels(section), entries, payload.look),
  bars: (section) => drawBars(getPanels(section), entries, getMeasureTitle()),
  "what-if": (section) => drawCurves(getPanels(section), entries),
  scores: () => drawScores(),
  parting: () => drawScrubber(listShownRuns()),
  words: () => drawWordTable(listShownRuns()),
  texts: () => drawTexts(),
  neurons: (section) => drawNeurons(section, entries, getRequest()),
  matrix: (section) => drawMatrix(getPanels(section), entries),
};

function start() {
  readAddress();
  const names = payload.runs.map(({ name }) => name);
  if (!names.includes(state.run)) {
    state.run = names.at(-1);
    if (names.length > 1 && !location.hash) state.beside = names[0];
  }
  if (!names.includes(state.beside) || state.beside === state.run) state.beside = "";
  if (!(state.site in SITES)) state.site = "fc1";
  if (!location.hash.includes("site=")) {
    const [kind, layer] = payload.runs.at(-1).site.split(".");
    Object.assign(state, { site: kind, layer: Number(layer ?? 0) });
  }
  if (!(state.text !== null && findRow(state.text)) && !(payload.live && state.typed))
    state.text = payload.rows[0]?.number ?? null;
  setUpSentence();
  setUpTexts();
  setUpScrubber();
  setUpWords();
  setUpSections();
  setUpGlossary();
  setUpControls(names, () => entries, drawSiteViews);
  setUpTour();
  onChange(drawChanges);
  showText();
  if (payload.live) watchEffects();
}

// Sections that fold up are open if the state says so.
function setUpSections() {
  for (const details of document.querySelectorAll(".more > details")) {
    const { id } = details.parentElement;
    details.open = state.open.has(id);
    details.addEventListener("toggle", () => {
      if (details.open === state.open.has(id)) return;
      const open = new Set(state.open);
      if (!open.delete(id)) open.add(id);
      change({ open });
      if (details.open) drawSection(id);
    });
  }
  byId("scores").hidden = !hasScores();
  byId("parting").hidden = !hasWordHistories();
  byId("words").hidden = !hasWords();
  const scores = byId("scores").querySelector("details");
  let unfolded = false; // for printing
  addEventListener("beforeprint", () => {
    unfolded = !scores.open;
    scores.open = true;
    drawSection("scores");
  });
  addEventListener("afterprint", () => {
    if (unfolded) scores.open = false;
  });
}

function drawSection(id) {
  const section = byId(id);
  const details = section.querySelector(":scope > details");
  if (!section.hidden && entries.length && (!details || details.open)) SECTIONS[id](section);
}

// What identifies the chosen text: its number in the test split, or the typed text itself.
function getRequest() {
  return state.text === null ? { text: state.typed } : { number: state.text };
}

function drawChanges(values) {
  const changes = (...names) => names.some((name) => name in values);
  if (changes("run", "beside", "text", "typed")) showText();
  else if (changes("site", "layer", "measure", "target")) {
    drawMeasures();
    drawSiteViews();
  } else {
    if (changes("wordOrder")) drawWords();
    if (changes("count", "without", "order")) {
      drawWords();
      drawDeletion();
    }
    if (changes("rank")) drawSection("neurons");
    if (changes("lines")) {
      drawSection("graph");
      byId("strongest").disabled = state.lines === null;
    }
    if (changes("rowOrder")) drawSection("bars");
    if (changes("cells")) drawMatrixHint();
    if (changes("cells", "arrangement")) drawSection("matrix");
    mark(null);
  }
}

// Fetches the explanations of the chosen text and draws them. An older request that is still open is aborted.
async function showText() {
  controller?.abort();
  const ownController = (controller = new AbortController());
  const { signal } = ownController;
  document.querySelector("main").ariaBusy = "true";
  try {
    if (state.text === null && !state.typed.trim())
      throw new Error("Type a sentence to see how its words share the neurons.");
    await fetchAndDraw(getRequest(), signal);
    if (!signal.aborted) showProblem(null);
  } catch (error) {
    if (signal.aborted) return;
    showProblem(
      error instanceof TypeError ? "The server does not answer; is `safr explore` still running?" : error.message,
    );
  } finally {
    if (ownController === controller) document.querySelector("main").ariaBusy = "false";
  }
}

// A server needs ten times as long for the what-ifs as for the explanations, so the explanations are drawn first.
async function fetchAndDraw(request, signal) {
  const runs = listShownRuns();
  const explanations = await Promise.all(runs.map((run) => fetchExplanation(run, request, signal)));
  if (signal.aborted) return;
  entries = runs.map((run, index) => ({
    run,
    explanation: explanations[index],
    whatIf: null,
    runNumber: payload.runs.findIndex(({ name }) => name === run),
  }));
  const drawsFirst = payload.live && state.measure !== "occlusion";
  if (drawsFirst) drawAll();
  const whatIfs = await Promise.all(runs.map((run) => fetchWhatIf(run, request, signal)));
  if (signal.aborted) return;
  for (const [index, entry] of entries.entries()) entry.whatIf = whatIfs[index];
  if (drawsFirst) {
    drawChoices();
    drawWords(); // some may be deleted from the start
    drawDeletion();
  } else drawAll();
  if (!payload.live) return;
  const neurons = await Promise.all(runs.map((run) => fetchNeurons(run, request, signal)));
  if (signal.aborted) return;
  for (const [index, entry] of entries.entries())
    entry.explanation = { ...entry.explanation, neurons: neurons[index] };
  drawSection("neurons");
}

function drawAll() {
  drawChoices();
  drawSiteViews();
}

function drawDeletion() {
  drawHeadlines(byId("headlines"), entries, getLabel());
  drawWhatIf(entries, getRequest());
  drawSection("what-if");
}

function showProblem(message) {
  byId("problem").hidden = message === null;
  byId("problem").textContent = message ?? "";
}

// Offers the sites, layers and measures of the explanations. A choice that is no longer offered becomes the first one.
function drawChoices() {
  const explanations = entries.map(({ explanation }) => explanation);
  const sites = listSites(explanations);
  if (!sites.includes(state.site)) state.site = sites.includes("fc1") ? "fc1" : sites[0];
  for (const label of byId("site").querySelectorAll("label")) label.remove();
  byId("site").append(
    ...sites.map((kind) =>
      element(
        "label",
        {},
        element("input", {
          type: "radio",
          name: "site",
          value: kind,
          checked: kind === state.site,
          change: () => change({ site: kind }),
        }),
        element("span", {}, SITES[kind]),
      ),
    ),
  );
  const layers = listLayers(explanations);
  if (!layers.includes(state.layer)) state.layer = layers[0] ?? 0;
  setOptions(
    byId("layer"),
    layers.map((layer) => [String(layer), String(layer)]),
    String(state.layer),
  );
  byId("layers").hidden = layers.length < 2;
  drawMeasures();
}

function drawMeasures() {
  const measures = listMeasures(
    entries.map(({ explanation }) => explanation),
    entries.map(({ whatIf }) => whatIf),
    state,
  );
  if (!measures.some(([name]) => name === state.measure)) state.measure = "capacity";
  setOptions(byId("measure"), measures, state.measure);
  for (const name of ["capacity", "relevance"]) {
    const choice = document.querySelector(`#shade input[value="${name}"]`);
    choice.checked = state.measure === name;
    choice.disabled = !measures.some(([other]) => other === name);
  }
  const targets = listTargets(
    entries.map(({ explanation }) => explanation),
    state,
  );
  if (targets.length && !targets.some(([label]) => Number(label) === state.target)) state.target = null;
  const names = targets.map(([label, name]) => [label, shorten(name, 30)]);
  setOptions(byId("target"), [["", "the predicted one"], ...names], String(state.target ?? ""));
  byId("targets").hidden = !targets.length;
}

// Draws all views that depend on the chosen site, layer and measure.
function drawSiteViews() {
  if (!entries.length) return;
  const layers = listLayers(entries.map(({ explanation }) => explanation));
  const site = formatSiteTitle(state.site, state.layer, layers.length);
  for (const entry of entries) {
    entry.siteData = getSiteData(entry.explanation, entry.whatIf, state);
    entry.siteTitle = site;
    entry.siteName = getSiteName(state.site, state.layer);
    entry.emptyMessage = `Nothing was recorded at ${site} in this run.`;
  }
  const isAttention = state.site === "attention";
  const measure = getMeasureTitle();
  const needsNoSite =
    ["keep", "relevance", "occlusion"].includes(state.measure) || state.measure.startsWith("other:");
  document.body.classList.toggle("several", entries.length > 1);
  byId("layer").disabled = state.site === "embedding" || state.site === "vmask";
  const atSite = needsNoSite ? "" : ` at ${site}`;
  drawKey(byId("sentence-hint"), entries, measure, `The stronger the blue, the higher ${measure.toLowerCase()}${atSite}.`);
  byId("bars-title").textContent = measure;
  const hint = isAttention && !needsNoSite ? "attention" : state.measure;
  byId("bars-hint").textContent = HINTS[hint] ?? "A score that the run keeps.";
  byId("controls-title").textContent = `Shown: ${measure.toLowerCase()}${atSite}. Choose another layer or measure`;
  byId("matrix-title").textContent = isAttention ? "Attention" : "Interference";
  drawMatrixHint();
  byId("graph-hint").replaceChildren(`At ${site}. `, ...makeGraphKey(isAttention));
  byId("neurons").hidden = !payload.live && !entries.some(({ explanation }) => explanation.neurons);
  byId("what-if").hidden = !payload.live && !entries.some(({ whatIf }) => whatIf);
  byId("strongest").disabled = state.lines === null;
  byId("word-order-label").hidden = entries.every(({ explanation }) => explanation.words.length <= LONG_TEXT);
  drawWords();
  drawHeadlines(byId("headlines"), entries, getLabel());
  drawWhatIf(entries, getRequest());
  for (const id of Object.keys(SECTIONS)) drawSection(id);
  mark(null);
}

function drawMatrixHint() {
  if (entries.length) byId("matrix-hint").textContent = describeMatrix(state.site === "attention", entries[0].siteTitle);
}

function describeMatrix(isAttention, site) {
  const what = isAttention
    ? `How much every word attends to every other${site.replace("Attention", "")}, a mean over heads`
    : `Overlap of every two words' vectors at ${site}`;
  if (state.cells === "difference") return `${what}: red where it is greater in the first run, blue with a dash where it is greater in the second.`;
  return isAttention ? `${what}.` : `${what}: red where they point the same way, blue with a dash where they point opposite ways.`;
}

function drawWords() {
  const text = getRow()?.text ?? state.typed;
  drawSentence(getPanels(byId("sentence")), entries, getMeasureTitle(), { label: getLabel(), text });
}

function getLabel() {
  return getRow()?.label ?? null;
}

function getRow() {
  return state.text === null ? null : findRow(state.text);
}

function getMeasureTitle() {
  return formatMeasure(state.measure, state.site === "attention");
}

function getPanels(section) {
  return section.querySelector(".panels");
}

// The server computes the effects of deletion while the page is open. They are filled in as they come.
async function watchEffects() {
  try {
    const { effects, pending } = await fetchEffects();
    const count = Object.values(effects).reduce((sum, byText) => sum + Object.keys(byText).length, 0);
    if (count > effectCount) {
      for (const row of payload.rows)
        row.effects = Object.fromEntries(
          Object.entries(effects).map(([run, byText]) => [run, byText[row.number] ?? null]),
        );
      refreshTexts();
    }
    effectCount = count;
    if (pending) setTimeout(watchEffects, EFFECTS_PAUSE);
  } catch {
    /* The server has stopped. People see a message when they open the next text. */
  }
}

start();
