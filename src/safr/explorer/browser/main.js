// Puts the views together: what is chosen in, everything drawn out.

import { setUpControls, setUpSentence } from "./controls.js";
import { byId, element, options } from "./elements.js";
import { drawBars } from "./bars.js";
import { drawGraph, graphKey } from "./graph.js";
import { drawMatrix } from "./matrix.js";
import { layersOf, measuresOf, placeOf, shownMeasure, shownSite, siteName, sitesOf } from "./readings.js";
import { drawScores } from "./scores.js";
import { drawSentence } from "./sentence.js";
import { contents, effectsOf, readingOf, rowOf, whatIfOf } from "./source.js";
import { change, mark, recall, SITES, state, whenChanged } from "./state.js";
import { drawTexts, refresh, setUpTexts } from "./texts.js";
import { drawWhatIf } from "./what_if.js";

const PENDING_PAUSE = 1500;

let entries = []; // one for each run that is shown
let waiting = null; // what is being asked for

function start() {
  recall();
  const names = contents.runs.map(({ name }) => name);
  if (!names.includes(state.run)) {
    state.run = names.at(-1);
    if (names.length > 1 && !location.hash) state.beside = names[0];
  }
  if (!names.includes(state.beside) || state.beside === state.run) state.beside = "";
  if (!(state.site in SITES)) state.site = "fc1";
  if (!location.hash.includes("site=")) {
    const [kind, layer] = contents.runs.at(-1).site.split(".");
    Object.assign(state, { site: kind, layer: Number(layer ?? 0) });
  }
  if (!(state.text !== null && rowOf(state.text)) && !(contents.live && state.typed))
    state.text = contents.rows[0]?.number ?? null;
  setUpSentence();
  setUpTexts();
  drawScores();
  setUpControls(
    names,
    () => entries,
    () => {
      drawScores();
      drawPlaces();
    },
  );
  drawTexts(chosenRuns());
  whenChanged(changed);
  show();
  if (contents.live) watchEffects();
}

function chosenRuns() {
  return state.beside ? [state.beside, state.run] : [state.run];
}

function request() {
  return state.text === null ? { text: state.typed } : { number: state.text };
}

function changed(values) {
  const runs = "run" in values || "beside" in values;
  if (runs) drawTexts(chosenRuns());
  if (runs || "text" in values || "typed" in values) show();
  else if ("count" in values || "without" in values || "order" in values)
    drawWhatIf(byId("what-if"), entries, request());
  else if ("lines" in values) drawGraph(panels("graph"), entries, contents.look);
  else {
    drawMeasures();
    drawPlaces();
  }
}

// Fetches the readings of what is chosen and draws all of it; an older question that is still open is dropped.
async function show() {
  waiting?.abort();
  const mine = (waiting = new AbortController());
  document.querySelector("main").ariaBusy = "true";
  try {
    if (state.text === null && !state.typed.trim())
      throw new Error("Type a sentence to see how its words share the neurons.");
    await fetched(request(), mine.signal);
    if (!mine.signal.aborted) problem(null);
  } catch (error) {
    if (mine.signal.aborted) return;
    problem(
      error instanceof TypeError ? "The server does not answer; is `safr explore` still running?" : error.message,
    );
  } finally {
    if (mine === waiting) document.querySelector("main").ariaBusy = "false";
  }
}

// Draws the readings as soon as they are there; what deleting words does takes a server ten times as long.
async function fetched(asked, signal) {
  const runs = chosenRuns();
  const readings = await Promise.all(runs.map((run) => readingOf(run, asked, signal)));
  if (signal.aborted) return;
  entries = runs.map((run, place) => ({
    run,
    reading: readings[place],
    whatIf: null,
    number: contents.runs.findIndex(({ name }) => name === run),
  }));
  const early = contents.live && state.measure !== "occlusion";
  if (early) drawAll();
  const whatIfs = await Promise.all(runs.map((run) => whatIfOf(run, asked, signal)));
  if (signal.aborted) return;
  for (const [place, entry] of entries.entries()) entry.whatIf = whatIfs[place];
  if (!early) drawAll();
  else {
    drawChoices();
    drawWhatIf(byId("what-if"), entries, request());
  }
}

function drawAll() {
  drawChoices();
  drawPlaces();
  refresh();
}

function problem(message) {
  byId("problem").hidden = message === null;
  byId("problem").textContent = message ?? "";
}

// The choices that these readings offer; one that is no longer there falls back to the first.
function drawChoices() {
  const readings = entries.map(({ reading }) => reading);
  const sites = sitesOf(readings);
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
  const layers = layersOf(readings);
  if (!layers.includes(state.layer)) state.layer = layers[0] ?? 0;
  options(
    byId("layer"),
    layers.map((layer) => [String(layer), String(layer)]),
    String(state.layer),
  );
  byId("layers").hidden = layers.length < 2;
  drawMeasures();
}

function drawMeasures() {
  const measures = measuresOf(
    entries.map(({ reading }) => reading),
    entries.map(({ whatIf }) => whatIf),
    state,
  );
  if (!measures.some(([name]) => name === state.measure)) state.measure = "capacity";
  options(byId("measure"), measures, state.measure);
}

function drawPlaces() {
  if (!entries.length) return;
  const row = state.text === null ? null : rowOf(state.text);
  const label = row?.label ?? null;
  const site = shownSite(state.site, state.layer, layersOf(entries.map(({ reading }) => reading)).length);
  for (const entry of entries) {
    entry.place = placeOf(entry.reading, entry.whatIf, state);
    entry.title = site;
    entry.file = siteName(state.site, state.layer);
    entry.none = `Nothing was recorded at ${site} in this run.`;
  }
  const attention = state.site === "attention";
  const measure = shownMeasure(state.measure, attention);
  const siteless = state.measure === "keep" || state.measure === "occlusion" || state.measure.startsWith("other:");
  document.body.classList.toggle("several", entries.length > 1);
  byId("layer").disabled = state.site === "embedding" || state.site === "vmask";
  const where = siteless ? "" : ` at ${site}`;
  byId("sentence-hint").textContent = `The stronger the blue, the higher ${measure.toLowerCase()}${where}.`;
  byId("bars-title").textContent = measure;
  const hint = attention && !siteless ? "attention" : state.measure;
  byId("bars-hint").textContent = HINTS[hint] ?? "A score that the run keeps.";
  byId("matrix-title").textContent = attention ? "Attention" : "Interference";
  byId("matrix-hint").textContent = attention
    ? `How much every word attends to every other${site.replace("Attention", "")}, a mean over heads.`
    : `Overlap of every two words' vectors at ${site}: red where they point one way, blue with a dash where opposed.`;
  byId("graph-hint").replaceChildren(`At ${site}. `, ...graphKey(attention));
  drawSentence(panels("sentence"), entries, measure, label);
  drawBars(panels("bars"), entries, measure);
  drawGraph(panels("graph"), entries, contents.look);
  drawMatrix(panels("matrix"), entries);
  drawWhatIf(byId("what-if"), entries, request());
  mark(null);
}

const HINTS = {
  capacity: "The share of its own direction that each word has to itself: 1 alone, 1/n where n words coincide.",
  polysemanticity: "How much of the other words lies along each word's own direction.",
  keep: "How likely VMASK is to let each word pass.",
  occlusion: "How far the predicted class's probability falls when the word alone is deleted.",
  attention: "What each word receives from all words on average, a mean over heads.",
};

function panels(id) {
  return byId(id).querySelector(".panels");
}

let effectsKnown = 0;

// The effects of deleting are computed while the page is open; they are filled in as they come.
async function watchEffects() {
  try {
    const { effects, pending } = await effectsOf();
    const known = Object.values(effects).reduce((sum, each) => sum + Object.keys(each).length, 0);
    if (known > effectsKnown) {
      for (const row of contents.rows)
        row.effects = Object.fromEntries(Object.entries(effects).map(([run, each]) => [run, each[row.number] ?? null]));
      refresh();
    }
    effectsKnown = known;
    if (pending) setTimeout(watchEffects, PENDING_PAUSE);
  } catch {
    /* the server has stopped; whoever asks it for a text is told */
  }
}

start();
