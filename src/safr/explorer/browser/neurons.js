// Draws the section about neurons: a strip for each run, and what is predicted with some of them switched off.

import { byId, element, svgElement } from "./elements.js";
import { formatShare, formatSiteTitle, guessPrediction, listLayers, quoteTarget, unpackRows } from "./explanations.js";
import { dialogWidth, openNeuron } from "./neuron_page.js";
import { cleanText, formatCount, MINUS } from "./numbers.js";
import { makePanel, measurePanel, setSize } from "./pictures.js";
import { fetchNeuronsOff, isRegression, payload } from "./source.js";
import { drawStacks, HUES } from "./stacks.js";
import { mark, state } from "./state.js";

const NOUN = isRegression ? "value" : "probability";
const ROW_HEIGHT = 22;
const NAME_WIDTH = 128;
const NUMBER_WIDTH = 165;
const SHORT_NUMBER_WIDTH = 56; // without a range
const NARROW = 400;
const WIDEST_EFFECT = 620;

const off = new Map(); // by run, the numbers of the neurons that are switched off
let drawn = { entries: [], request: null, text: "" };
let controller = null; // aborts the questions to the server that are still open

export function drawNeurons(section, entries, request) {
  const shown = entries.filter(({ explanation }) => explanation.neurons);
  if (!shown.length) {
    section.querySelector(".panels").replaceChildren(); // a server is still computing them
    return;
  }
  const text = JSON.stringify(request);
  if (text !== drawn.text) off.clear();
  drawn = { entries: shown, request, text };
  controller?.abort();
  controller = new AbortController();
  const stripes = shown.map((entry) => ({ entry, columns: listColumns(entry) }));
  const all = stripes.flatMap(({ columns }) => columns);
  const hasTotals = all.some(({ total }) => total !== null);
  if (!hasTotals) state.rank = "use";
  byId("rank").value = state.rank;
  byId("rank").closest("label").hidden = !hasTotals;
  byId("switch-on").disabled = ![...off.values()].some((numbers) => numbers.size);
  byId("neurons-hint").replaceChildren(...makeHint(shown, all));
  const scale = {
    largestStack: Math.max(...all.flatMap(({ above, below }) => [above, below])),
    largestTotal: Math.max(...all.map(({ total }) => Math.abs(total ?? 0))),
  };
  const hues = chooseHues(stripes);
  const container = section.querySelector(".panels");
  const sideBySide = entries.length > 1;
  const width = measurePanel(container);
  const effects = [];
  const panels = stripes.map(({ entry, columns }) => {
    const picture = drawStrip(entry, columns, { scale, hues, width });
    const effect = element("div", { class: "effect" });
    effects.push(showEffect(effect, entry, Math.min(width, WIDEST_EFFECT)));
    const { site } = entry.explanation.neurons;
    return makePanel({
      entry: { ...entry, siteTitle: nameSite(entry.explanation), siteName: site, siteData: {} },
      subject: "Neurons",
      sideBySide,
      body: element("div", {}, picture, effect),
      getPicture: (panel) => panel.querySelector("svg"),
      getRows: () => makeRows(entry, columns),
    });
  });
  container.replaceChildren(...panels);
  Promise.all(effects).then((lines) => {
    if (lines.every((line) => line !== null)) byId("off-told").textContent = lines.filter(Boolean).join("; ");
  });
}

function drawStrip(entry, columns, look) {
  const { explanation, run } = entry;
  return drawStacks({
    ...look,
    explanation,
    columns,
    target: nameTarget(explanation),
    description:
      `The ${formatCount(columns.length, "neuron")} that the text uses most in ${run}, ` +
      "each a stack of the words that it is active at; Enter opens a neuron",
    toggle: (number) => toggleNeuron(entry, number),
    open: (number) => showNeuron(entry, number),
  });
}

// The neurons of a run with what the strip shows of each, in the chosen order.
function listColumns({ run, explanation: { neurons, words } }) {
  const count = words.length;
  const activations = unpackRows(neurons.activations, neurons.neurons.length, count);
  const relevance = neurons.relevance && unpackRows(neurons.relevance, neurons.neurons.length, count);
  const columns = neurons.neurons.map((number, index) => {
    const values = activations[index].map((value) => value || 0); // what is not a number has no height
    const sum = (sign) => values.reduce((total, value) => total + Math.max(sign * value, 0), 0);
    return {
      number,
      activations: values,
      relevance: relevance?.[index] ?? null,
      total: neurons.total?.[index] ?? null,
      alone: neurons.alone[index],
      above: sum(1),
      below: sum(-1),
      active: findActive(values),
      off: off.get(run)?.has(number) ?? false,
    };
  });
  const rank = ({ total }) => Math.abs(total ?? 0);
  return state.rank === "relevance" ? columns.sort((one, other) => rank(other) - rank(one)) : columns;
}

// The words that a neuron is active at, the strongest first; those that hardly count are left out.
function findActive(values) {
  const largest = Math.max(...values.map(Math.abs));
  return values
    .map((_, word) => word)
    .filter((word) => values[word] !== 0 && Math.abs(values[word]) >= payload.look.faint * largest)
    .sort((one, other) => Math.abs(values[other]) - Math.abs(values[one]));
}

// The words that get a colour of their own, by text: those of the largest activations over all strips.
function chooseHues(stripes) {
  const sizes = new Map();
  for (const { entry, columns } of stripes) {
    entry.explanation.words.forEach((text, word) => {
      const size = columns.reduce((sum, column) => sum + Math.abs(column.activations[word]), 0);
      const key = text.toLowerCase();
      sizes.set(key, (sizes.get(key) ?? 0) + size);
    });
  }
  const largest = [...sizes].sort(([, one], [, other]) => other - one).slice(0, HUES);
  return new Map(largest.map(([text], hue) => [text, hue]));
}

function makeHint(entries, columns) {
  const targets = new Set(entries.map(({ explanation }) => nameTarget(explanation)));
  const target = targets.size > 1 ? "the predicted class" : [...targets][0];
  const hasNegative = columns.some(({ below }) => below > 0);
  return [
    "Each column is a neuron, and each block in it a word that activates it, taller where it does so more strongly: ",
    "words in one column share the neuron. ",
    hasNegative ? "Hatched blocks below the line are negative activations. " : "",
    ...(columns.some(({ total }) => total !== null)
      ? [
          "Under it stands its number, and what it ",
          element("span", { class: "sample" }, "+adds"),
          ` to ${target} or `,
          element("span", { class: "sample against" }, `${MINUS}takes`),
          " from it. ",
        ]
      : ["Under it stands its number. "]),
    "Click a column to see what drives it in all texts.",
  ];
}

function nameTarget({ prediction }) {
  return isRegression ? "the value" : quoteTarget(prediction);
}

function nameSite({ neurons, ...explanation }) {
  const [kind, layer] = neurons.site.split(".");
  return formatSiteTitle(kind, layer, listLayers([explanation]).length);
}

function makeRows({ explanation }, columns) {
  return [
    ["neuron", "position", "word", "activation", "relevance at the word", "relevance in all", `${NOUN} without it`],
    ...columns.flatMap(({ number, activations, relevance, total, alone }) =>
      activations
        .map((value, word) => [
          number,
          word,
          explanation.words[word],
          roundValue(value),
          relevance && roundValue(relevance[word]),
          total,
          alone,
        ])
        .filter(([, , , value]) => value !== 0),
    ),
  ];
}

function roundValue(value) {
  return Number(value.toPrecision(4));
}

export function restoreNeurons() {
  off.clear();
  redraw();
}

function toggleNeuron({ run, runNumber }, number) {
  const numbers = off.get(run) ?? new Set();
  if (!numbers.delete(number)) numbers.add(number);
  off.set(run, numbers);
  redraw();
  focusNode(runNumber, `.switch[data-neuron="${number}"]`);
}

function redraw() {
  drawNeurons(byId("neurons"), drawn.entries, drawn.request);
  mark(null);
}

function focusNode(runNumber, selector) {
  document.querySelector(`#neurons .panel[data-run="${runNumber}"] ${selector}`)?.focus();
}

function showNeuron(entry, number) {
  const effect = element("div", { class: "effect" });
  const draw = () => {
    const isOff = off.get(entry.run)?.has(number) ?? false;
    const bars = element("div");
    const press = () => {
      toggleNeuron(entry, number);
      draw();
      effect.querySelector("button").focus();
    };
    effect.replaceChildren(
      element("button", { type: "button", "aria-pressed": String(isOff), click: press }, "Switch off"),
      bars,
    );
    showEffect(bars, entry, dialogWidth());
  };
  draw();
  openNeuron({
    run: entry.run,
    number,
    site: nameSite(entry.explanation),
    effect,
    leave: () => focusNode(entry.runNumber, `.stack[data-neuron="${number}"]`),
  });
}

// Fills a node with what is predicted without the neurons that are off. Returns the line that says it, or null where
// the server was not waited for.
async function showEffect(node, { run, explanation }, width) {
  const numbers = [...(off.get(run) ?? [])].sort((one, other) => one - other);
  if (!numbers.length) {
    const hint = "Switch neurons off to see what the prediction gets from them.";
    node.replaceChildren(element("p", { class: "hint" }, hint));
    return "";
  }
  const { signal } = controller;
  const line = element("p", { class: "predicted" }, "…");
  node.replaceChildren(line);
  try {
    const found = payload.live
      ? await fetchNeuronsOff(run, drawn.request, numbers, signal)
      : findAlone(explanation, numbers);
    if (signal.aborted) return null;
    const names = numbers.length > 3 ? `these ${numbers.length} neurons` : `neuron ${numbers.join(", ")}`;
    line.replaceChildren(...describeEffect(explanation, found, names));
    node.append(drawEffect(explanation, found, names, numbers.length, width));
  } catch (error) {
    if (signal.aborted) return null;
    line.textContent = error.message;
  }
  return line.textContent;
}

// What a file knows: the value without a single neuron, and the prediction where there are two classes.
function findAlone(explanation, numbers) {
  const { neurons } = explanation;
  if (numbers.length > 1)
    throw new Error("This file holds single neurons; `safr explore` without --export switches off several together.");
  const followed = neurons.alone[neurons.neurons.indexOf(numbers[0])];
  const answer = guessPrediction(explanation, explanation.prediction, followed);
  return { followed, random: neurons.random, prediction: answer };
}

function describeEffect({ prediction, neurons }, found, names) {
  const changed = !isRegression && found.prediction !== null && found.prediction !== prediction;
  return [
    `Without ${names}: `,
    ...(found.prediction === null || isRegression
      ? []
      : [
          "predicted ",
          element("b", { class: changed ? "wrong" : "" }, cleanText(found.prediction)),
          changed ? " (changed)" : " (unchanged)",
          "; ",
        ]),
    `${NOUN}${isRegression ? "" : ` of ${cleanText(prediction)}`} ${formatShare(found.followed)}, `,
    `with all neurons ${formatShare(neurons.whole)}.`,
  ];
}

function drawEffect({ prediction, neurons: { whole } }, { followed, random }, names, count, width) {
  const draws = random.filter((value) => value !== null);
  const values = [whole, followed, ...draws].filter((value) => value !== null);
  const [low, high] = isRegression ? [Math.min(0, ...values), Math.max(0, ...values)] : [0, 1];
  const isNarrow = width < NARROW; // as on a phone, where the line of the random draws has to say their range alone
  const room = width - NAME_WIDTH - (isNarrow ? SHORT_NUMBER_WIDTH : NUMBER_WIDTH);
  const scaleX = (value) => NAME_WIDTH + (room * (value - low)) / (high - low || 1);
  const [least, most] = [Math.min(...draws), Math.max(...draws)];
  const mean = draws.reduce((sum, value) => sum + value, 0) / draws.length;
  const without = count > 1 ? `without ${count} of them` : `without ${names.replace("neuron ", "")}`;
  const range = `${formatShare(mean)} (${formatShare(least)} to ${formatShare(most)})`;
  const rows = [
    ["all neurons", whole, formatShare(whole)],
    [without, followed, formatShare(followed)],
    ...(draws.length ? [[formatCount(count, "random neuron"), mean, range]] : []),
  ];
  const nodes = rows.map(([name, value, said], row) => {
    const y = (row + 0.5) * ROW_HEIGHT;
    const [start, end] = [scaleX(0), scaleX(value ?? 0)];
    const isRandom = row === 2;
    return [
      svgElement("text", { x: NAME_WIDTH - 8, y, "text-anchor": "end", "dominant-baseline": "central" }, name),
      svgElement("rect", {
        class: isRandom ? "bar by-chance" : "bar",
        x: Math.min(start, end),
        y: y - 6,
        width: Math.abs(end - start),
        height: 12,
      }),
      isRandom ? svgElement("line", { class: "range", x1: scaleX(least), x2: scaleX(most), y1: y, y2: y }) : null,
      svgElement(
        "text",
        { class: "value", x: Math.max(start, end, isRandom ? scaleX(most) : 0) + 6, y, "dominant-baseline": "central" },
        isRandom && isNarrow ? formatShare(value) : said,
      ),
    ];
  });
  const description =
    `${NOUN} of ${cleanText(prediction)}: ` + rows.map(([name, , said]) => `${name} ${said}`).join("; ");
  const picture = svgElement("svg", { class: "bars", role: "img", "aria-label": description }, nodes.flat());
  return setSize(picture, width, rows.length * ROW_HEIGHT);
}
