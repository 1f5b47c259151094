// Draws the allocation graph: circles for words, lines for pairs of words. Circles can be dragged, and the graph zoomed.

import { byId, element, svgElement } from "./elements.js";
import { areBothUnknown } from "./explanations.js";
import { addGestures, formatView, isDragging, makeZoomButtons, WHOLE } from "./gestures.js";
import { makeTerm } from "./glossary.js";
import { drawGraphKey, getLineClass } from "./graph_key.js";
import { fitToBox, LEADER_GAP, placeLabels, pushApart, unpackLayout } from "./layout.js";
import { cleanText, formatCount, formatNumber, nameWord, shorten, UNKNOWN_MARK } from "./numbers.js";
import {
  formatWordTip,
  hideTip,
  linkToWord,
  makeEmptyPanel,
  makePanel,
  makeUnknownNote,
  measurePanel,
  setSize,
  showTip,
} from "./pictures.js";
import { mark, onMark, state } from "./state.js";
import { update } from "./update.js";

const MARGIN = 6;
const RADIUS_FACTOR = 1.35; // circles are larger than in the figure, because its letters are smaller
const LABEL_HEIGHT = 17;
const FULL_SIZE_WIDTH = 640; // in a narrower picture, circles are smaller, so that words stay readable
const LINES_PER_WORD = 2; // every word has at least the lines of its so many strongest pairs
const MARKED_PAIRS = 5; // of a word that is marked

const graphs = new WeakMap(); // by picture, the graph that it shows

export function drawGraph(container, entries, constants) {
  const sideBySide = entries.length > 1;
  const width = measurePanel(container);
  const prepared = entries.map((entry) => (entry.siteData ? prepareGraph(entry, constants, width) : null));
  update(
    container,
    entries.map((entry, place) =>
      prepared[place]
        ? makeGraphPanel(entry, prepared[place], sideBySide)
        : makeEmptyPanel(entry, sideBySide, entry.emptyMessage),
    ),
  );
  const drawn = prepared.filter(Boolean);
  for (const [place, picture] of [...container.querySelectorAll("svg.graph")].entries())
    graphs.set(picture, drawn[place]);
  byId("lines").value = state.lines ?? 0;
  byId("lines-from").textContent =
    state.lines === null ? "each word's two strongest pairs" : `from ${state.lines} % of the strongest`;
}

function makeGraphPanel(entry, graph, sideBySide) {
  const { siteData } = graph;
  const look = siteData.isAttention ? "" : "Two such words have no line between them.";
  const lineCounts = `${formatCount(graph.lines.length, "line")} of ${formatCount(graph.pairs.length, "pair")}`;
  const choice = siteData.isAttention ? "that receive the most attention" : "with the highest capacity";
  const wordCounts =
    siteData.words.length > graph.words.length
      ? ` The ${graph.words.length} words ${choice}, of ${siteData.words.length}.`
      : "";
  const picture = drawPicture(graph);
  const name = `the graph of ${entry.run}`;
  const zoomButtons = makeZoomButtons({
    name,
    size: [graph.width, graph.height],
    getView: () => getView(graph),
    setView: (view) => setView(graph, view),
  });
  return makePanel({
    entry,
    subject: "Allocation",
    sideBySide,
    body: element("div", { class: "zoomable" }, picture, zoomButtons),
    note: [`${lineCounts}.${wordCounts}`, makeUnknownNote(siteData, look)].filter(Boolean).join(" "),
    getPicture: (panel) => panel.querySelector("svg.graph"),
    getRows: () => listPairs(graph),
  });
}

// The explanation of circles and lines.
export function makeGraphKey(isAttention) {
  const hint = `Point at a word for its ${MARKED_PAIRS} strongest pairs.`;
  if (isAttention)
    return [`A large circle receives much attention; a line is the mean attention of two words to each other. ${hint}`];
  return [
    "The larger a circle, the less its word shares its direction with others (",
    makeTerm("capacity"),
    `), whatever its weight in the answer. A line joins words whose vectors overlap, thicker if they overlap more. ${hint}`,
  ];
}

function listPairs({ siteData, pairs, words }) {
  const { isAttention } = siteData;
  const head = ["word", "other word", isAttention ? "attention, mean of both directions" : "interference"];
  return [
    [...head, ...(isAttention ? [] : ["cosine"]), "share of the strongest"],
    ...pairs.map(({ i, j, share, value, cosine }) => [
      siteData.words[words[i]],
      siteData.words[words[j]],
      value,
      ...(isAttention ? [] : [cosine === null ? null : Number(cosine.toPrecision(4))]),
      Number(share.toPrecision(4)),
    ]),
  ];
}

// Chooses which words get circles and which pairs get lines, and places the circles. In a pair, `i` and `j` count the
// words that have circles, and `share` is relative to the strongest pair.
function prepareGraph(entry, constants, width) {
  const { siteData } = entry;
  const { wordOfRow, sizes, isAttention } = siteData;
  const getSize = (row) => sizes[wordOfRow[row]] ?? 0;
  const largestFirst = wordOfRow.map((_, row) => row).sort((one, other) => getSize(other) - getSize(one));
  const rows = largestFirst.slice(0, constants.mostCircles).sort((one, other) => one - other);
  const words = rows.map((row) => wordOfRow[row]);
  const pairs = rankPairs(siteData, rows);
  const strongestPairs = rows.map((_, i) => pairs.filter((pair) => pair.i === i || pair.j === i).slice(0, MARKED_PAIRS));
  const isStrong = (pair) => [pair.i, pair.j].some((i) => strongestPairs[i].slice(0, LINES_PER_WORD).includes(pair));
  const lines = pairs.filter((pair) => (state.lines === null ? isStrong(pair) : 100 * pair.share >= state.lines));
  const largestSize = isAttention ? Math.max(...rows.map(getSize)) || 1 : 1;
  const shares = rows.map((row) => Math.min(Math.max(getSize(row) / largestSize, 0), 1));
  const scale = Math.min(Math.max(width / FULL_SIZE_WIDTH, 0.5), 1.2);
  const computeRadius = (share) =>
    scale * Math.max(RADIUS_FACTOR * constants.largestRadius * Math.sqrt(share), 2 * constants.smallestRadius);
  const longest = width < 480 ? 12 : 18;
  const names = words.map((word) => shorten(siteData.words[word], longest) + (siteData.unknown[word] ? UNKNOWN_MARK : ""));
  const graph = { siteData, words, names, pairs, strongestPairs, lines, shares, largestSize, computeRadius, width };
  graph.radii = shares.map(computeRadius);
  graph.labelWidths = names.map(measureLabel);
  Object.assign(graph, placeInPicture(graph, unpackLayout(siteData.layout, rows.length), scale * constants.gap));
  const text = state.text ?? state.typed;
  graph.dragKey = JSON.stringify([entry.run, entry.siteName, text]);
  graph.viewKey = JSON.stringify([entry.run, text]);
  return graph;
}

// All pairs of words that have circles, the strongest first.
function rankPairs(siteData, rows) {
  const { matrix, count, isAttention } = siteData;
  const pairs = [];
  for (const [i, row] of rows.entries()) {
    for (const [j, column] of rows.entries()) {
      // Two unknown words would outdo all other pairs.
      if (j <= i || areBothUnknown(siteData, row, column)) continue;
      const value = (matrix[row * count + column] + matrix[column * count + row]) / 2;
      const norms = Math.sqrt(matrix[row * count + row] * matrix[column * count + column]);
      const cosine = !isAttention && norms > 0 ? Math.min(Math.max(value / norms, -1), 1) : null;
      if (Number.isFinite(value) && value !== 0) pairs.push({ i, j, value, cosine });
    }
  }
  pairs.sort((one, other) => Math.abs(other.value) - Math.abs(one.value));
  for (const pair of pairs) pair.share = Math.abs(pair.value / pairs[0].value);
  return pairs;
}

// Where circles and labels stand, and how high the picture must be.
function placeInPicture({ radii, labelWidths, width }, layout, gap) {
  const count = radii.length;
  const largest = Math.max(...radii);
  const height = Math.min(Math.max(0.66 * width, 18 * count), 130 + 82 * Math.sqrt(count));
  const inner = Math.max(width - 2 * (largest + MARGIN), 1);
  const fitted = fitToBox(layout, inner, Math.max(height - 2 * largest, 1));
  const edges = [MARGIN - width / 2, width / 2 - MARGIN];
  const points = pushApart(fitted, radii, gap, ...edges);
  const labels = placeLabels(points, radii, labelWidths, LABEL_HEIGHT, [edges[0], -Infinity, edges[1], Infinity]);
  const top = Math.min(...points.map(([, y], i) => Math.min(y - radii[i], labels[i].y - LABEL_HEIGHT / 2))) - MARGIN;
  const bottom = Math.max(...points.map(([, y], i) => Math.max(y + radii[i], labels[i].y + LABEL_HEIGHT / 2))) + MARGIN;
  return {
    height: bottom - top,
    centres: points.map(([x, y]) => [x + width / 2, y - top]),
    labels: labels.map(({ x, y, gap: distance }) => ({ x: x + width / 2, y: y - top, gap: distance })),
  };
}

function drawPicture(graph) {
  const strongest = graph.pairs[0];
  const getText = (i) => cleanText(graph.siteData.words[graph.words[i]]);
  const description =
    `Graph of ${formatCount(graph.words.length, "word")} and ${formatCount(graph.lines.length, "line")}` +
    (strongest ? `; the strongest joins ${getText(strongest.i)} and ${getText(strongest.j)}` : "") +
    ". Plus, minus and 0 zoom, arrow keys move.";
  const picture = svgElement(
    "svg",
    { class: "graph", role: "img", tabindex: "0", "aria-label": description },
    drawContents(graph),
  );
  if (getView(graph).scale > 1) picture.classList.add("zoomed");
  addGestures(picture, {
    size: [graph.width, graph.height],
    getView: () => getView(graph),
    setView: (view) => setView(graph, view),
    dragNode: (word, [x, y]) => {
      const drags = state.drags.get(graph.dragKey) ?? new Map();
      const clamp = (value, length) => Math.min(Math.max(value / length, 0.02), 0.98);
      drags.set(word, [clamp(x, graph.width), clamp(y, graph.height)]);
      state.drags.set(graph.dragKey, drags);
      hideTip();
      redraw(graph);
      mark(word);
    },
    stopDragging: () => redraw(graph),
  });
  return setSize(picture, graph.width, graph.height + graph.keyHeight);
}

function getView(graph) {
  return state.views.get(graph.viewKey) ?? WHOLE;
}

function setView(graph, view) {
  if (view === WHOLE) state.drags.delete(graph.dragKey); // all that people moved goes back
  state.views.set(graph.viewKey, view);
  redraw(graph);
}

// Draws a graph again in the picture that shows it.
function redraw(graph) {
  for (const picture of document.querySelectorAll("svg.graph")) {
    if (graphs.get(picture) !== graph) continue;
    update(picture, drawContents(graph));
    picture.classList.toggle("dragging", isDragging(picture));
    picture.classList.toggle("zoomed", getView(graph).scale > 1);
  }
  mark(null);
}

function drawContents(graph) {
  const { siteData, words, width } = graph;
  const places = applyDrags(graph);
  const lines = graph.lines.map((pair) => drawLine(graph, places, pair)).reverse(); // the strongest on top
  const nodes = words.map((word, i) => drawNode(graph, places, word, i));
  const key = drawGraphKey(graph);
  graph.keyHeight = key.height;
  graph.places = places;
  return [
    svgElement(
      "g",
      { class: "view", transform: formatView(getView(graph)) },
      svgElement("g", { class: "lines" }, lines),
      svgElement("g", { class: "marked-lines" }),
      svgElement("g", { class: "leaders" }, words.map((word, i) => drawLeader(graph, places, word, i))),
      svgElement("g", { class: "nodes" }, nodes),
    ),
    // What is zoomed must not reach into the key.
    svgElement("rect", { class: "ground", x: 0, y: graph.height, width, height: key.height + 1 }),
    svgElement("g", { class: "key-of-graph", transform: `translate(0 ${graph.height.toFixed(1)})` }, key.nodes),
  ];

  function drawNode({ radii, names, shares }, { centres, labels }, word, i) {
    const [x, y] = centres[i];
    const circle = svgElement("circle", { class: siteData.unknown[word] ? "circle unknown" : "circle", r: radii[i].toFixed(1) });
    circle.style.setProperty("--share", shares[i].toFixed(3));
    const label = svgElement(
      "text",
      {
        class: "label",
        "text-anchor": "middle",
        "dominant-baseline": "central",
        transform: formatTranslation(labels[i].x - x, labels[i].y - y),
      },
      names[i],
    );
    const node = svgElement(
      "g",
      { class: "node", key: `${word} ${siteData.words[word]}`, transform: formatTranslation(x, y) },
      circle,
      label,
    );
    return linkToWord(node, word, () => [
      ...formatWordTip(siteData, word, siteData.isAttention ? "attention received" : "capacity", siteData.sizes[word]),
      ...graph.strongestPairs[i].map((pair) => {
        const other = cleanText(siteData.words[words[pair.i === i ? pair.j : pair.i]]);
        return `“${other}” ${describePair(siteData, pair)}`;
      }),
    ]);
  }
}

// A line from a circle to a label that found room only far away.
function drawLeader({ radii, siteData, labelWidths }, { centres, labels }, word, i) {
  const { x, y, gap } = labels[i];
  if (gap < LEADER_GAP) return null;
  const [cx, cy] = centres[i];
  const clamp = (value, middle, half) => Math.min(Math.max(value, middle - half), middle + half);
  const [endX, endY] = [clamp(cx, x, labelWidths[i] / 2), clamp(cy, y, LABEL_HEIGHT / 2)];
  const length = Math.hypot(endX - cx, endY - cy) || 1;
  const [startX, startY] = [cx + (radii[i] * (endX - cx)) / length, cy + (radii[i] * (endY - cy)) / length];
  return svgElement("path", {
    class: "leader",
    key: `${word} ${siteData.words[word]}`,
    d: formatLine([startX, startY], [endX, endY]),
  });
}

function drawLine(graph, { centres }, pair) {
  const { siteData, words } = graph;
  const [one, other] = [words[pair.i], words[pair.j]];
  const texts = [one, other].map((word) => cleanText(siteData.words[word]));
  return svgElement("path", {
    class: `line ${getLineClass(pair.value)}`,
    key: `${one},${other} ${texts.join(" ")}`,
    d: formatLine(centres[pair.i], centres[pair.j]),
    "stroke-width": (0.8 + 2.8 * pair.share).toFixed(2),
    "data-pair": `${one},${other}`,
    pointermove: (event) =>
      showTip(event, [
        texts.join(" – "),
        `${siteData.isAttention ? "attention" : "interference"} ${describePair(siteData, pair)}`,
        `${Math.round(100 * pair.share)} % of the strongest`,
      ]),
    pointerleave: hideTip,
  });
}

function describePair({ isAttention }, { value, cosine }) {
  return formatNumber(value) + (isAttention || cosine === null ? "" : `, cosine ${formatNumber(cosine)}`);
}

// Circles and labels with what was dragged. A circle that was dragged may overlap another, but its label does not.
function applyDrags(graph) {
  const { centres, labels, radii, labelWidths, words, width, height } = graph;
  const drags = state.drags.get(graph.dragKey);
  if (!drags) return { centres, labels };
  const moved = centres.map((centre, i) => {
    const drag = drags.get(words[i]);
    return drag ? [drag[0] * width, drag[1] * height] : centre;
  });
  return { centres: moved, labels: placeLabels(moved, radii, labelWidths, LABEL_HEIGHT, [0, 0, width, height]) };
}

function formatTranslation(x, y) {
  return `translate(${x.toFixed(1)} ${y.toFixed(1)})`;
}

function formatLine([x, y], [otherX, otherY]) {
  return `M${x.toFixed(1)} ${y.toFixed(1)}L${otherX.toFixed(1)} ${otherY.toFixed(1)}`;
}

const context = document.createElement("canvas").getContext("2d");

// The width of a label in bold letters, as it has them while it is marked.
function measureLabel(name) {
  context.font = `700 13px ${getComputedStyle(document.body).fontFamily}`;
  return context.measureText(name).width + 4;
}

// A marked word shows its strongest pairs, whether they have lines or not; other lines step back.
function markLines(picture, word) {
  const graph = graphs.get(picture);
  if (!graph) return;
  const i = word === null ? -1 : graph.words.indexOf(word);
  const strongest = i < 0 ? [] : graph.strongestPairs[i];
  const hidden = strongest.filter((pair) => !graph.lines.includes(pair)).reverse();
  update(
    picture.querySelector(".marked-lines"),
    hidden.map((pair) => drawLine(graph, graph.places, pair)),
  );
  for (const line of picture.querySelectorAll("[data-pair]")) {
    const isMarked = line.getAttribute("data-pair").split(",").map(Number).includes(word);
    line.classList.toggle("marked", isMarked);
    line.classList.toggle("aside", strongest.length > 0 && !isMarked);
  }
}

onMark((word) => {
  for (const picture of document.querySelectorAll("svg.graph")) markLines(picture, word);
});
