// The state of the page: what is shown. It is kept in the address behind the #, so that a link opens the same view.

export const SITES = {
  embedding: "Embedding",
  vmask: "VMASK",
  attention: "Attention",
  fc1: "FC1",
  fc1_out: "FC1 after activation",
  fc2: "FC2",
};

const TEXT_KEYS = [
  "run",
  "beside",
  "typed",
  "site",
  "measure",
  "order",
  "rank",
  "cells",
  "arrangement",
  "rowOrder",
  "wordOrder",
];
const NUMBER_KEYS = ["text", "layer", "target", "word", "count", "lines"];

export const state = {
  run: "",
  beside: "",
  text: null, // number of a text in the table, or null for a typed text
  typed: "",
  site: "fc1",
  layer: 0,
  measure: "relevance", // what counts for the answer, which people ask for first; capacity where a run has none
  target: null, // number of the class that relevance is about, or null for the one that each run predicts
  word: null, // the picked word, which is marked in all views
  lines: null, // per cent of the strongest pair above which pairs get a line; null: each word's two strongest do
  cells: "values", // what the matrix shows: values, cosines, or the difference of two runs
  rowOrder: "text", // the order of the bars: that of the text, or "size", the largest first
  arrangement: "text", // the order of the matrix's words: that of the text, or clusters
  count: 0, // how many words the slider deletes
  order: "relevance",
  drags: new Map(), // where circles of graphs were dragged to, by run, site and text
  views: new Map(), // what is seen of a zoomed graph, by run and text
  rank: "use", // what the neurons are ordered by, use or relevance
  wordOrder: "text", // how the words stand, as in the text or by strength
  without: null, // words that were deleted by clicks; null if the slider says which
  open: new Set(), // the sections that are unfolded, by id
};

// The main run first.
export function listShownRuns() {
  return state.beside ? [state.run, state.beside] : [state.run];
}

const changeListeners = [];
const markListeners = [];

export function onChange(listener) {
  changeListeners.push(listener);
}

export function onMark(listener) {
  markListeners.push(listener);
}

export function change(values) {
  Object.assign(state, values);
  writeAddress();
  for (const listener of changeListeners) listener(values);
}

// Marks a word as long as the mouse is over it; null marks the picked word again.
export function mark(word) {
  const markedWord = word ?? state.word;
  for (const listener of markListeners) listener(markedWord, new Set(markedWord === null ? [] : [markedWord]));
}

// Marks all words of something that the mouse is over. No single one of them is told about.
export function markAll(words) {
  for (const listener of markListeners) listener(null, new Set(words));
}

// Picks a word, which stays marked until it is clicked again.
export function pick(word) {
  state.word = state.word === word ? null : word;
  writeAddress();
  mark(null);
}

export function readAddress() {
  const parameters = new URLSearchParams(location.hash.slice(1));
  for (const key of TEXT_KEYS) if (parameters.has(key)) state[key] = parameters.get(key);
  for (const key of NUMBER_KEYS) {
    const value = Number.parseInt(parameters.get(key), 10);
    if (Number.isInteger(value)) state[key] = value;
  }
  if (parameters.has("typed")) state.text = null;
  if (parameters.has("without"))
    state.without = new Set(parameters.get("without").split(",").map(Number).filter(Number.isInteger));
  if (parameters.has("open")) state.open = new Set(parameters.get("open").split(","));
}

export function formatAddress() {
  const parameters = new URLSearchParams();
  for (const key of [...TEXT_KEYS, ...NUMBER_KEYS]) {
    if (key === "typed" && state.text !== null) continue;
    if (state[key] !== null && state[key] !== "" && !(key === "count" && state.count === 0))
      parameters.set(key, state[key]);
  }
  if (state.without) parameters.set("without", [...state.without].join(","));
  if (state.open.size) parameters.set("open", [...state.open].join(","));
  return `#${parameters}`;
}

function writeAddress() {
  try {
    history.replaceState(null, "", formatAddress());
  } catch {
    // The frame of a notebook has no address.
  }
}
