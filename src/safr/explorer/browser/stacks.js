// Draws the strip of neurons: a stack of blocks for each, one block for every word that the neuron is active at.

import { svgElement } from "./elements.js";
import { cleanText, formatNumber, nameWord, shorten } from "./numbers.js";
import { hideTip, setSize, showTip } from "./pictures.js";
import { mark, markAll } from "./state.js";

export const HUES = 8; // words with a colour of their own; the others share one
const STACK_HEIGHT = 250;
const COLUMN_WIDTH = 62; // at least
const WIDEST_COLUMN = 96;
const GAP = 6;
const MIN_BLOCK = 0.8; // height of a block below which a word is drawn with the others
const LABEL_HEIGHT = 11.5; // of a block in which there is room for its word
const LETTER_WIDTH = 6.3;
const FOOT_HEIGHT = 62; // number, relevance and switch of a column
const HATCH_STEP = 6;
const ROW_GAP = 18;
const KEY_HEIGHT = 20;

// The strip of one run. `columns` are its neurons in order: the number, the activation and relevance of every word, the
// sums of activations above and below 0, the active words, the total relevance, and whether it is off. Runs share the
// `scale`, `hues` gives the colour of a word by its text, and `open` and `toggle` are called with a number.
export function drawStacks({ explanation, columns, scale, hues, width, target, description, open, toggle }) {
  const perRow = Math.max(Math.min(Math.floor(width / COLUMN_WIDTH), columns.length), 1);
  const rowCount = Math.ceil(columns.length / perRow);
  const inRow = Math.ceil(columns.length / rowCount);
  const pitch = Math.min(width / inRow, WIDEST_COLUMN);
  const key = drawKey(explanation, hues, width);
  const perUnit = STACK_HEIGHT / (scale.largestStack || 1);
  const rows = [];
  let top = key.height;
  for (let start = 0; start < columns.length; start += inRow) {
    const group = columns.slice(start, start + inRow);
    const above = Math.max(...group.map((column) => column.above)) * perUnit;
    const below = Math.max(...group.map((column) => column.below)) * perUnit;
    const zero = top + Math.max(above, 24);
    rows.push(
      svgElement("line", { class: "axis zero", x1: 0, x2: group.length * pitch, y1: zero, y2: zero }),
      ...group.flatMap((column, index) => drawColumn(column, index * pitch, zero, zero + below)),
    );
    top = zero + below + FOOT_HEIGHT + ROW_GAP;
  }
  const picture = svgElement(
    "svg",
    { class: "stacks", role: "group", "aria-label": description },
    key.node,
    rows,
  );
  moveWithArrows(picture, ".stack");
  moveWithArrows(picture, ".switch");
  return setSize(picture, Math.max(inRow * pitch, Math.min(width, 300), key.width), top - ROW_GAP);

  function drawColumn(column, left, zero, bottom) {
    const wide = pitch - GAP;
    const middle = left + pitch / 2;
    const lines = describeColumn(column, explanation, target);
    const height = Math.max(column.above * perUnit, 24);
    const stack = svgElement(
      "g",
      {
        class: column.off ? "stack off" : "stack",
        "data-neuron": column.number,
        role: "button",
        tabindex: -1,
        "aria-label": lines.join(", "),
      },
      // Something to point at beside the blocks.
      svgElement("rect", {
        class: "strip",
        x: left,
        y: zero - height,
        width: pitch,
        height: height + bottom - zero + 42,
      }),
      drawBlocks(column, left + GAP / 2, wide, zero),
      svgElement(
        "text",
        { class: "number", x: middle, y: bottom + 15, "text-anchor": "middle", "font-size": 12 },
        String(column.number),
      ),
      column.total === null ? null : drawTotal(column.total, middle, wide, bottom + 20),
    );
    const enter = () => markAll(column.active);
    stack.addEventListener("pointerenter", enter);
    stack.addEventListener("focus", enter);
    stack.addEventListener("blur", () => mark(null));
    stack.addEventListener("pointerleave", () => {
      mark(null);
      hideTip();
    });
    stack.addEventListener("pointermove", (event) => {
      if (!event.target.closest(".block") && event.pointerType === "mouse") showTip(event, lines);
    });
    onPress(stack, () => open(column.number));
    return [stack, drawSwitch(column, middle, bottom + 46)];
  }

  function drawTotal(total, middle, wide, y) {
    const length = (wide / 2) * (Math.abs(total) / (scale.largestTotal || 1));
    const sign = total < 0 ? "" : "+";
    return [
      svgElement("line", { class: "axis", x1: middle, x2: middle, y1: y - 1, y2: y + 7 }),
      svgElement("rect", {
        class: total < 0 ? "bar below" : "bar",
        x: total < 0 ? middle - length : middle,
        y,
        width: length,
        height: 6,
      }),
      svgElement(
        "text",
        { class: "value", x: middle, y: y + 18, "text-anchor": "middle", "font-size": 11 },
        sign + formatNumber(total),
      ),
    ];
  }

  function drawBlocks(column, left, wide, zero) {
    const ends = { 1: zero, [-1]: zero }; // where the next block begins, above and below the line
    const others = { 1: [], [-1]: [] };
    const blocks = column.active.map((word) => {
      const value = column.activations[word];
      const sign = Math.sign(value);
      const height = Math.abs(value) * perUnit;
      if (height < MIN_BLOCK) {
        others[sign].push(word);
        return null;
      }
      ends[sign] -= sign * height;
      const y = sign > 0 ? ends[sign] : ends[sign] - height;
      const block = makeBlock(hues.get(explanation.words[word].toLowerCase()), { left, wide, y, height, sign });
      const name = nameWord(explanation, word, Math.floor((wide - 4) / LETTER_WIDTH));
      if (height >= LABEL_HEIGHT)
        block.append(
          svgElement(
            "text",
            { x: left + wide / 2, y: y + height / 2, "text-anchor": "middle", "dominant-baseline": "central" },
            name,
          ),
        );
      const lines = [
        cleanText(explanation.words[word]),
        `activation ${formatNumber(value)} of neuron ${column.number}`,
        ...(column.relevance ? [`adds ${formatNumber(column.relevance[word])} to ${target}`] : []),
      ];
      block.setAttribute("data-word", word);
      block.addEventListener("pointerenter", () => mark(word));
      block.addEventListener("pointermove", (event) => {
        if (event.pointerType === "mouse") showTip(event, lines);
      });
      block.addEventListener("pointerleave", () => markAll(column.active));
      return block;
    });
    const rest = [1, -1].map((sign) => {
      const height = others[sign].reduce((sum, word) => sum + Math.abs(column.activations[word]), 0) * perUnit;
      if (height < MIN_BLOCK) return null;
      ends[sign] -= sign * height;
      return makeBlock(undefined, { left, wide, y: sign > 0 ? ends[sign] : ends[sign] - height, height, sign });
    });
    return [...blocks, ...rest].filter(Boolean);
  }

  function makeBlock(hue, { left, wide, y, height, sign }) {
    const inner = Math.max(height - 0.8, 0.5); // a gap between blocks
    const place = { x: left, y: y + (height - inner) / 2, width: wide, height: inner };
    return svgElement(
      "g",
      { class: `block hue-${hue ?? "none"}` },
      svgElement("rect", { class: "fill", ...place }),
      sign < 0 ? svgElement("path", { class: "hatch", d: makeHatch(place) }) : null,
    );
  }

  function drawSwitch(column, middle, y) {
    const node = svgElement(
      "g",
      {
        class: "switch",
        "data-control": "",
        "data-neuron": column.number,
        role: "button",
        tabindex: -1,
        "aria-pressed": String(column.off),
        "aria-label": `Switch off neuron ${column.number}`,
      },
      svgElement("rect", { x: middle - 17, y, width: 34, height: 16, rx: 8 }),
      svgElement(
        "text",
        { x: middle, y: y + 8.5, "text-anchor": "middle", "dominant-baseline": "central" },
        column.off ? "off" : "on",
      ),
    );
    onPress(node, () => toggle(column.number));
    return node;
  }
}

// Slanted lines over a block. A pattern would need an address, which the page has none of.
function makeHatch({ x, y, width, height }) {
  let path = "";
  for (let offset = HATCH_STEP - height; offset < width; offset += HATCH_STEP) {
    const [start, end] = [Math.max(offset, 0), Math.min(offset + height, width)];
    const [low, high] = [start, end].map((place) => y + height - (place - offset));
    path += `M${(x + start).toFixed(1)} ${low.toFixed(1)}L${(x + end).toFixed(1)} ${high.toFixed(1)}`;
  }
  return path;
}

// What a screen reader says of a column, and the tip beside the mouse.
function describeColumn({ number, active, total, off }, explanation, target) {
  const strongest = active.slice(0, 4).map((word) => `“${shorten(explanation.words[word])}”`);
  return [
    `Neuron ${number}${off ? ", switched off" : ""}`,
    strongest.length ? `most active at ${strongest.join(", ")}` : "active at no word",
    ...(total === null ? [] : [`adds ${formatNumber(total)} to ${target}`]),
  ];
}

// Samples of the colours with their words, in as many lines as they need.
function drawKey(explanation, hues, width) {
  const names = [...hues].sort(([, one], [, other]) => one - other);
  const present = new Set(explanation.words.map((word) => word.toLowerCase()));
  const samples = names.filter(([text]) => present.has(text));
  const hasOthers = [...present].some((text) => !hues.has(text));
  const items = [
    ...samples.map(([text, hue]) => [shorten(explanation.words.find((word) => word.toLowerCase() === text)), hue]),
    ...(hasOthers ? [["other words", "none"]] : []),
  ];
  let [x, y, right] = [0, 0, 0];
  const nodes = items.map(([name, hue]) => {
    const length = 20 + [...name].length * 7.2 + 12;
    if (x > 0 && x + length > width) [x, y] = [0, y + KEY_HEIGHT];
    const node = svgElement(
      "g",
      { class: `key-word hue-${hue}` },
      svgElement("rect", { class: "fill", x, y: y + 2, width: 13, height: 13 }),
      svgElement("text", { x: x + 18, y: y + 9, "dominant-baseline": "central", "font-size": 12 }, name),
    );
    x += length;
    right = Math.max(right, x);
    return node;
  });
  return { node: svgElement("g", {}, nodes), height: y + KEY_HEIGHT + 10, width: Math.min(right, width) };
}

function onPress(node, press) {
  node.addEventListener("click", press);
  node.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" && event.key !== " ") return;
    event.preventDefault();
    press();
  });
}

// One of the nodes takes part in the order of the tab key; the arrow keys go from one to the next.
function moveWithArrows(picture, selector) {
  const nodes = [...picture.querySelectorAll(selector)];
  nodes[0]?.setAttribute("tabindex", 0);
  nodes.forEach((node, index) => {
    node.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowLeft: -1, Home: -Infinity, End: Infinity }[event.key];
      if (step === undefined) return;
      event.preventDefault();
      const next = nodes[Math.min(Math.max(index + step, 0), nodes.length - 1)];
      for (const other of nodes) other.setAttribute("tabindex", other === next ? 0 : -1);
      next.focus();
    });
  });
}
