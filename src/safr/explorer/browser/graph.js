// Draws the allocation graph: circles for words, lines for pairs of words. The circles can be dragged.

import { byId, svgElement } from "./elements.js";
import { centres, distances, placeLabels, pushApart, strengths } from "./layout.js";
import { areBothUnknown } from "./explanations.js";
import { cleanText, formatCount, formatNumber, nameWord } from "./numbers.js";
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
import { state } from "./state.js";

const MARGIN = 10;
const RADIUS_FACTOR = 1.35; // circles are larger than in the figure, because its letters are smaller
const LABEL_HEIGHT = 16;
const LETTER_WIDTH = 7.6;
const MIN_HEIGHT = 240;
const FULL_SIZE_WIDTH = 560; // in a narrower picture, circles are smaller, so that words stay readable

export function drawGraph(container, entries, constants) {
  const sideBySide = entries.length > 1;
  const width = measurePanel(container);
  const thresholds = [];
  container.replaceChildren(
    ...entries.map((entry) => {
      const { siteData } = entry;
      if (!siteData) return makeEmptyPanel(entry, sideBySide, entry.emptyMessage);
      const graph = prepareGraph(siteData, constants, width);
      thresholds.push(graph.threshold);
      const picture = drawPicture(graph);
      const look = siteData.isAttention ? "" : "What two of them share is the vocabulary's doing and has no line.";
      const pairCount = graph.pairs.length.toLocaleString("en");
      const lineCounts = `${formatCount(graph.lines.length, "line")} of ${pairCount} pairs`;
      const wordCounts =
        siteData.words.length > graph.words.length
          ? ` The ${graph.words.length} words ${describeChoice(siteData)}, of ${siteData.words.length}.`
          : "";
      return makePanel({
        entry,
        subject: "Allocation",
        sideBySide,
        body: picture,
        note: [`${lineCounts}.${wordCounts}`, makeUnknownNote(siteData, look)].filter(Boolean).join(" "),
        getPicture: () => picture,
        getRows: () => [
          [
            "word",
            "other word",
            siteData.isAttention ? "attention, mean of both directions" : "interference",
            "share of the strongest",
          ],
          ...graph.pairs.map(([i, j, share, value]) => [
            graph.getText(i),
            graph.getText(j),
            value,
            Number(share.toPrecision(4)),
          ]),
        ],
      });
    }),
  );
  const percent = state.lines ?? Math.ceil(100 * Math.max(0, ...thresholds));
  byId("lines").value = percent;
  byId("lines-from").textContent =
    state.lines === null ? `the ${constants.mostLines} strongest` : `from ${percent} % of the strongest`;
}

// The explanation of circles and lines, as texts and nodes.
export function makeGraphKey(isAttention) {
  const makeSwatch = (cssClass) =>
    svgElement(
      "svg",
      { class: "swatch", viewBox: "0 0 28 8", "aria-hidden": "true" },
      svgElement("line", { class: cssClass, x1: 1, x2: 27, y1: 4, y2: 4, "stroke-width": 2.5 }),
    );
  return isAttention
    ? [
        "Circle area is the attention received, relative to the most; a line is the mean attention of two words to ",
        "each other. Drag circles to arrange them.",
      ]
    : [
        "Circle area is capacity. Lines: ",
        makeSwatch("positive"),
        " positive and ",
        makeSwatch("negative"),
        " negative interference, shorter and thicker where it is stronger. Drag circles to arrange them.",
      ];
}

function describeChoice(siteData) {
  return siteData.isAttention ? "that receive the most attention" : "with the highest capacity";
}

// Chooses which words get circles and which pairs get lines, and places the circles. A pair is [i, j, share of the
// strongest pair, value], where i and j count the words that have circles.
function prepareGraph(siteData, constants, width) {
  const largestFirst = siteData.wordOfRow
    .map((_, row) => row)
    .sort(
      (one, other) => (siteData.sizes[siteData.wordOfRow[other]] ?? 0) - (siteData.sizes[siteData.wordOfRow[one]] ?? 0),
    );
  const rows = largestFirst.slice(0, constants.mostCircles).sort((one, other) => one - other);
  const count = rows.length;
  const matrix = new Float64Array(count * count);
  rows.forEach((row, i) =>
    rows.forEach((column, j) => {
      // Two unknown words would outdo all other pairs.
      if (!areBothUnknown(siteData, row, column))
        matrix[i * count + j] = siteData.matrix[row * siteData.count + column];
    }),
  );
  const strength = strengths(matrix, count);
  const pairs = [];
  for (let i = 0; i < count; i += 1) {
    for (let j = i + 1; j < count; j += 1) {
      const share = strength[i * count + j];
      if (share > 0) pairs.push([i, j, share, (matrix[i * count + j] + matrix[j * count + i]) / 2]);
    }
  }
  pairs.sort((one, other) => other[2] - one[2]);
  const threshold = pairs[Math.min(constants.mostLines, pairs.length) - 1]?.[2] ?? 0;
  const lines =
    state.lines === null
      ? pairs.slice(0, constants.mostLines)
      : pairs.filter(([, , share]) => 100 * share >= state.lines);
  const words = rows.map((row) => siteData.wordOfRow[row]);
  const largestSize = siteData.isAttention ? Math.max(...words.map((word) => siteData.sizes[word] ?? 0)) || 1 : 1;
  const scale = Math.max(Math.min(width / FULL_SIZE_WIDTH, 1), 0.5);
  const radii = words.map(
    (word) =>
      scale *
      Math.max(
        RADIUS_FACTOR * constants.largestRadius * Math.sqrt(Math.max(siteData.sizes[word] ?? 0, 0) / largestSize),
        2 * constants.smallestRadius,
      ),
  );
  const points = centres(distances(strength, constants.shortest), count);
  return {
    siteData,
    words,
    radii,
    pairs,
    lines,
    threshold,
    getText: (i) => siteData.words[words[i]],
    centres: pushApart(fitToWidth(points, width), radii, scale * constants.gap),
    width,
  };
}

function fitToWidth(points, width) {
  const measureSpan = (axis) =>
    Math.max(...points.map((point) => point[axis])) - Math.min(...points.map((point) => point[axis])) || 1e-9;
  const side = Math.min(150 + 70 * Math.sqrt(points.length), width - 110);
  const scale = points.length > 1 ? side / Math.max(measureSpan(0), 1.45 * measureSpan(1)) : 0;
  return points.map(([x, y]) => [x * scale, y * scale]);
}

function drawPicture(graph) {
  const { siteData } = graph;
  const lines = graph.lines.map((pair) => drawLine(graph, pair)).reverse(); // the strongest on top
  const circles = graph.words.map((word, i) =>
    svgElement("circle", { class: siteData.unknown[word] ? "circle unknown" : "circle", r: graph.radii[i] }),
  );
  const labels = graph.words.map((word) =>
    svgElement(
      "text",
      { class: "label", "text-anchor": "middle", "dominant-baseline": "central" },
      nameWord(siteData, word),
    ),
  );
  const groups = graph.words.map((word, i) =>
    linkToWord(svgElement("g", { class: "node" }, circles[i], labels[i]), word, () =>
      formatWordTip(siteData, word, siteData.isAttention ? "attention received" : "capacity", siteData.sizes[word]),
    ),
  );
  const strongest = graph.pairs[0];
  const description =
    `Graph of ${formatCount(graph.words.length, "word")} and ${formatCount(graph.lines.length, "line")}` +
    (strongest
      ? `; the strongest joins ${cleanText(graph.getText(strongest[0]))} and ${cleanText(graph.getText(strongest[1]))}`
      : "");
  const picture = svgElement("svg", { class: "graph", role: "img", "aria-label": description }, lines, groups);
  placeNodes();
  const frame = computeFrame(graph);
  const width = Math.max(frame[2] - frame[0], Math.min(graph.width, 300));
  const height = Math.max(frame[3] - frame[1], MIN_HEIGHT);
  setSize(picture, width, height);
  const [left, top] = [(frame[0] + frame[2] - width) / 2, (frame[1] + frame[3] - height) / 2];
  picture.setAttribute("viewBox", `${left.toFixed(1)} ${top.toFixed(1)} ${width.toFixed(1)} ${height.toFixed(1)}`);
  groups.forEach((group, i) =>
    makeDraggable(group, picture, (x, y) => {
      graph.centres[i] = [Math.min(Math.max(x, left), left + width), Math.min(Math.max(y, top), top + height)];
      placeNodes();
    }),
  );
  return picture;

  function placeNodes() {
    graph.labels = placeLabels(
      graph.centres,
      graph.radii,
      graph.words.map((word) => measureLabel(siteData, word)),
      LABEL_HEIGHT,
    );
    graph.words.forEach((_, i) => {
      setAttributes(circles[i], { cx: graph.centres[i][0], cy: graph.centres[i][1] });
      setAttributes(labels[i], { x: graph.labels[i][0], y: graph.labels[i][1] });
    });
    [...graph.lines].reverse().forEach(([i, j], index) =>
      setAttributes(lines[index], {
        x1: graph.centres[i][0],
        y1: graph.centres[i][1],
        x2: graph.centres[j][0],
        y2: graph.centres[j][1],
      }),
    );
  }
}

function drawLine(graph, [i, j, share, value]) {
  const line = svgElement("line", {
    class: value < 0 ? "negative" : "positive",
    "stroke-width": (0.8 + 2.8 * share).toFixed(2),
    "data-pair": `${graph.words[i]},${graph.words[j]}`,
  });
  line.addEventListener("pointermove", (event) =>
    showTip(event, [
      `${cleanText(graph.getText(i))} – ${cleanText(graph.getText(j))}`,
      `${graph.siteData.isAttention ? "attention" : "interference"} ${formatNumber(value)}`,
      `${Math.round(100 * share)} % of the strongest`,
    ]),
  );
  line.addEventListener("pointerleave", hideTip);
  return line;
}

function makeDraggable(group, picture, move) {
  let start = null;
  const stop = () => {
    start = null;
  };
  group.addEventListener("pointerdown", (event) => {
    start = [event.clientX, event.clientY];
    group.setPointerCapture(event.pointerId);
  });
  group.addEventListener("pointermove", (event) => {
    if (!start || Math.hypot(event.clientX - start[0], event.clientY - start[1]) < 4) return;
    group.classList.add("dragged");
    const point = new DOMPoint(event.clientX, event.clientY).matrixTransform(picture.getScreenCTM().inverse());
    hideTip();
    move(point.x, point.y);
  });
  group.addEventListener("pointerup", stop);
  group.addEventListener("pointercancel", stop);
  // A drag ends with a click, which must not pick the word.
  group.addEventListener(
    "click",
    (event) => {
      if (group.classList.contains("dragged")) event.stopImmediatePropagation();
      group.classList.remove("dragged");
    },
    { capture: true },
  );
}

// The edges of everything that is drawn, with a margin: left, top, right and bottom.
function computeFrame({ centres: points, radii, labels, words, siteData }) {
  const frame = [Infinity, Infinity, -Infinity, -Infinity];
  points.forEach(([x, y], i) => {
    const halfWidth = measureLabel(siteData, words[i]) / 2;
    frame[0] = Math.min(frame[0], x - radii[i], labels[i][0] - halfWidth);
    frame[1] = Math.min(frame[1], y - radii[i], labels[i][1] - LABEL_HEIGHT / 2);
    frame[2] = Math.max(frame[2], x + radii[i], labels[i][0] + halfWidth);
    frame[3] = Math.max(frame[3], y + radii[i], labels[i][1] + LABEL_HEIGHT / 2);
  });
  return [frame[0] - MARGIN, frame[1] - MARGIN, frame[2] + MARGIN, frame[3] + MARGIN];
}

function measureLabel(siteData, word) {
  return LETTER_WIDTH * [...nameWord(siteData, word)].length;
}

function setAttributes(node, attributes) {
  for (const [name, value] of Object.entries(attributes))
    node.setAttribute(name, typeof value === "number" ? value.toFixed(1) : value);
}
