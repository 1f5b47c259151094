// What is shown: kept in the address behind the #, so that a link opens the same view, and told to whoever draws it.

export const SITES = {
  embedding: "Embedding",
  vmask: "VMASK",
  attention: "Attention",
  fc1: "FC1",
  fc1_out: "FC1 after activation",
  fc2: "FC2",
};

const TEXTS = ["run", "beside", "typed", "site", "measure", "order"];
const NUMBERS = ["text", "layer", "word", "count", "lines"];

export const state = {
  run: "",
  beside: "",
  text: null, // number of a text of the table, or null for a typed one
  typed: "",
  site: "fc1",
  layer: 0,
  measure: "capacity",
  word: null, // picked, marked in all views
  lines: null, // share of the strongest pair from which pairs get a line, in per cent; null: the 40 strongest
  count: 0, // step of the deletion
  order: "capacity",
  without: null, // words deleted one by one, or null where the step says which
};

const drawers = [];
const markers = [];

export function whenChanged(draw) {
  drawers.push(draw);
}

export function whenMarked(mark) {
  markers.push(mark);
}

export function change(values) {
  Object.assign(state, values);
  remember();
  for (const draw of drawers) draw(values);
}

// Hovering marks a word for the moment; picking it, for good.
export function mark(word) {
  const marked = word ?? state.word;
  for (const draw of markers) draw(marked);
}

export function pick(word) {
  state.word = state.word === word ? null : word;
  remember();
  mark(null);
}

export function recall() {
  const found = new URLSearchParams(location.hash.slice(1));
  for (const name of TEXTS) if (found.has(name)) state[name] = found.get(name);
  for (const name of NUMBERS) {
    const value = Number.parseInt(found.get(name), 10);
    if (Number.isInteger(value)) state[name] = value;
  }
  if (found.has("typed")) state.text = null;
  if (found.has("without"))
    state.without = new Set(found.get("without").split(",").map(Number).filter(Number.isInteger));
}

export function address() {
  const told = new URLSearchParams();
  for (const name of [...TEXTS, ...NUMBERS]) {
    if (name === "typed" && state.text !== null) continue;
    if (state[name] !== null && state[name] !== "" && !(name === "count" && state.count === 0))
      told.set(name, state[name]);
  }
  if (state.without) told.set("without", [...state.without].join(","));
  return `#${told}`;
}

function remember() {
  try {
    history.replaceState(null, "", address());
  } catch {
    // A notebook's frame has no address.
  }
}
