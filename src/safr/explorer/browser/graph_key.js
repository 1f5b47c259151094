// Draws the key of the allocation graph inside its picture: what circles and lines mean, of what is drawn.

import { svgElement } from "./elements.js";

const KEY_SHARES = [0.1, 0.5, 1];
const LETTER_WIDTH = 6.4; // average width of a letter at font size 12
const ROW_HEIGHT = 20;
const SWATCH_WIDTH = 26;
const LEFT = 4;
const GAP = 14; // between two items
const BUTTONS_WIDTH = 132; // of the buttons for zooming, which stand on the right of the key

export function getLineClass(value) {
  return value < 0 ? "negative" : "positive";
}

// The nodes of the key, around (0, 0) at its top left, and its height.
export function drawGraphKey(graph) {
  const { siteData, largestSize, computeRadius, width } = graph;
  const { isAttention } = siteData;
  const circleHeight = Math.max(2 * computeRadius(Math.max(...KEY_SHARES)) + 8, ROW_HEIGHT);
  const items = [
    drawText(isAttention ? "attention received" : "capacity"),
    ...KEY_SHARES.map((share) => drawCircle(share, formatSize(share * largestSize))),
  ];
  // Lines of a marked word are in the key, too.
  const drawn = new Set([...graph.lines, ...graph.strongestPairs.flat()]);
  const lines = ["positive", "negative"]
    .filter((kind) => [...drawn].some(({ value }) => getLineClass(value) === kind))
    .map((kind) => drawSwatch(kind, isAttention ? "mean attention of two words" : `${kind} interference`));
  return layOutRows([items, lines], [circleHeight, ROW_HEIGHT], width - BUTTONS_WIDTH);

  function drawCircle(share, text) {
    const radius = computeRadius(share);
    const circle = svgElement("circle", { class: "circle", cx: radius, cy: 0, r: radius });
    circle.style.setProperty("--share", share);
    return { nodes: [circle, makeText(text, 2 * radius + 4)], width: 2 * radius + 4 + LETTER_WIDTH * text.length };
  }
}

function formatSize(size) {
  return String(Number(size.toPrecision(2)));
}

function drawText(text) {
  return { nodes: [makeText(text, 0)], width: LETTER_WIDTH * text.length };
}

function drawSwatch(kind, text) {
  const line = svgElement("path", { class: `line ${kind}`, d: `M0 0H${SWATCH_WIDTH}`, "stroke-width": 2.2 });
  return {
    nodes: [line, makeText(text, SWATCH_WIDTH + 6)],
    width: SWATCH_WIDTH + 6 + LETTER_WIDTH * text.length,
  };
}

function makeText(text, x) {
  return svgElement("text", { class: "key-text", x, y: 0, "dominant-baseline": "central" }, text);
}

// Groups of items stand beside each other if there is room, and else below each other; items that find no room in their
// row go to the next one.
function layOutRows(groups, heights, width) {
  const rows = [{ items: [], end: LEFT, height: 0 }];
  for (const [index, items] of groups.entries()) {
    const total = items.reduce((sum, item) => sum + item.width + GAP, 0);
    if (rows.at(-1).end > LEFT && rows.at(-1).end + total > width) rows.push({ items: [], end: LEFT, height: 0 });
    for (const item of items) {
      if (rows.at(-1).end > LEFT && rows.at(-1).end + item.width > width) rows.push({ items: [], end: LEFT, height: 0 });
      const row = rows.at(-1);
      row.items.push([item, row.end]);
      row.end += item.width + GAP;
      row.height = Math.max(row.height, heights[index]);
    }
  }
  let height = 0;
  const nodes = rows.flatMap((row) => {
    const middle = height + row.height / 2;
    height += row.height;
    return row.items.map(([item, x]) =>
      svgElement("g", { transform: `translate(${x.toFixed(1)} ${middle.toFixed(1)})` }, item.nodes),
    );
  });
  return { height, nodes };
}
