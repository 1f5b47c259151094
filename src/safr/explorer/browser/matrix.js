// Draws the value of every pair of words as a coloured cell: red above zero, blue below.
// The cells are one image with one pixel per cell, so that two hundred words are drawn as fast as ten.

import { element, svgElement } from "./elements.js";
import { areBothUnknown, findLargestPair } from "./explanations.js";
import { cleanText, formatNumber, nameWord } from "./numbers.js";
import { hideTip, makeEmptyPanel, makePanel, makeUnknownNote, measurePanel, setSize, showTip } from "./pictures.js";
import { mark, onMark, pick } from "./state.js";

const MIN_LABELLED_CELL = 9; // size of a cell above which words fit beside it
const MAX_DASHED_WORDS = 40; // with more words, the dashes of negative cells would look grey
const MIN_DASHED_SHARE = 0.15;
const SCALE_WIDTH = 130;

export function drawMatrix(container, entries) {
  const sideBySide = entries.length > 1;
  const width = measurePanel(container);
  container.replaceChildren(
    ...entries.map((entry) => {
      const { siteData } = entry;
      if (!siteData) return makeEmptyPanel(entry, sideBySide, entry.emptyMessage);
      const { words, wordOfRow, count, matrix, isAttention } = siteData;
      const picture = drawPicture(siteData, width);
      const look = isAttention
        ? ""
        : "What two of them share (crossed cells) is the vocabulary's doing and off the scale.";
      const choice =
        count < words.length
          ? `Pairs are shown of the ${count} words with the highest capacity, of ${words.length}. `
          : "";
      return makePanel({
        entry,
        subject: getSubject(siteData),
        sideBySide,
        body: picture,
        note:
          choice +
          (isAttention
            ? "Rows pay attention to columns."
            : "The grey diagonal, each word with itself, is off the scale.") +
          ` ${makeUnknownNote(siteData, look) ?? ""}`.trimEnd(),
        getPicture: () => picture,
        getRows: () => [
          ["word", ...wordOfRow.map((word) => words[word])],
          ...wordOfRow.map((word, row) => [
            words[word],
            ...[...matrix.slice(row * count, (row + 1) * count)].map((value) => Number(value.toPrecision(4))),
          ]),
        ],
      });
    }),
  );
}

function getSubject(siteData) {
  return siteData.isAttention ? "Attention" : "Interference";
}

function drawPicture(siteData, maxWidth) {
  const { wordOfRow, count } = siteData;
  const names = wordOfRow.map((word) => nameWord(siteData, word, 14));
  const labelWidth = Math.max(...names.map((name) => [...name].length)) * 6.6 + 10;
  const cell = Math.min((Math.min(maxWidth, 640) - labelWidth) / count, 26);
  const hasLabels = cell >= MIN_LABELLED_CELL;
  const [left, top] = hasLabels ? [labelWidth, labelWidth] : [4, 4];
  const side = cell * count;
  const largest = findLargestPair(siteData);
  const [width, height] = [Math.max(left + side + 4, SCALE_WIDTH + 90), top + side + 44];
  const cells = svgElement("image", {
    x: left,
    y: top,
    width: side,
    height: side,
    href: paintCells(siteData, largest),
    preserveAspectRatio: "none",
  });
  const cross = [
    svgElement("rect", { class: "cross", width: side, height: cell, x: left }),
    svgElement("rect", { class: "cross", width: cell, height: side, y: top }),
  ];
  const fontSize = Math.min(12, Math.max(cell * 0.8, 8));
  const labels = hasLabels
    ? names.flatMap((name, i) => {
        const middle = (i + 0.5) * cell;
        const rotation = `translate(${left + middle} ${top - 5}) rotate(-90)`;
        return [
          drawLabel(name, wordOfRow[i], { x: left - 5, y: top + middle, "text-anchor": "end" }, fontSize),
          drawLabel(name, wordOfRow[i], { transform: rotation }, fontSize),
        ];
      })
    : [];
  const description = `${getSubject(siteData)} between ${count} words; the largest has size ${formatNumber(largest)}`;
  const picture = svgElement(
    "svg",
    { class: "matrix", role: "img", "aria-label": description },
    cells,
    svgElement("path", { class: "dashes", d: makeDashes(siteData, largest, left, top, cell) }),
    svgElement("path", { class: "crosses", d: makeCrosses(siteData, left, top, cell) }),
    cross,
    svgElement("rect", { class: "edge", x: left, y: top, width: side, height: side }),
    labels,
    drawScale(siteData, largest, left, top + side + 12),
  );
  addListeners(picture, siteData, { left, top, cell, cross });
  return setSize(picture, width, height);
}

function drawLabel(name, word, position, fontSize) {
  const attributes = { "data-word": word, "font-size": fontSize, "dominant-baseline": "central" };
  return svgElement("text", { ...position, ...attributes }, name);
}

// The address of an image with one pixel per cell.
function paintCells(siteData, largest) {
  const { count, matrix, isAttention } = siteData;
  const canvas = element("canvas", { width: count, height: count });
  const context = canvas.getContext("2d");
  const pixels = context.createImageData(count, count);
  const names = ["--positive", "--negative", "--diagonal", "--cell"];
  const [positive, negative, diagonal, zero] = names.map(readColour);
  for (let i = 0; i < count * count; i += 1) {
    const [row, column] = [Math.floor(i / count), i % count];
    const isDiagonal = !isAttention && row === column;
    const isOffScale = isDiagonal || areBothUnknown(siteData, row, column);
    const share = isOffScale || !Number.isFinite(matrix[i]) ? 0 : Math.min(Math.abs(matrix[i]) / (largest || 1), 1);
    const strongest = matrix[i] < 0 ? negative : positive;
    const colour = isDiagonal
      ? diagonal
      : zero.map((component, channel) => component + (strongest[channel] - component) * share);
    pixels.data.set([...colour, 255], 4 * i);
  }
  context.putImageData(pixels, 0, 0);
  return canvas.toDataURL();
}

// Red, green and blue of a CSS variable, in the light or dark colours of the page.
function readColour(name) {
  const probe = element("span");
  probe.style.color = `var(${name})`;
  document.body.append(probe);
  const components = getComputedStyle(probe)
    .color.match(/[\d.]+/g)
    .slice(0, 3)
    .map(Number);
  probe.remove();
  return components;
}

function makeDashes(siteData, largest, left, top, cell) {
  const { count, matrix, isAttention } = siteData;
  if (count > MAX_DASHED_WORDS) return "";
  let path = "";
  for (let i = 0; i < count; i += 1) {
    for (let j = 0; j < count; j += 1) {
      if (matrix[i * count + j] >= -MIN_DASHED_SHARE * largest || (i === j && !isAttention)) continue;
      if (areBothUnknown(siteData, i, j)) continue;
      const [x, y] = [left + (j + 0.28) * cell, top + (i + 0.5) * cell];
      path += `M${x.toFixed(1)} ${y.toFixed(1)}h${(0.44 * cell).toFixed(1)}`;
    }
  }
  return path;
}

// A cross in every cell of two unknown words, whatever their number: without it the cell would look like one of 0.
function makeCrosses(siteData, left, top, cell) {
  let path = "";
  for (let i = 0; i < siteData.count; i += 1) {
    for (let j = 0; j < siteData.count; j += 1) {
      if (!areBothUnknown(siteData, i, j)) continue;
      const [x, y, side] = [left + (j + 0.3) * cell, top + (i + 0.3) * cell, (0.4 * cell).toFixed(1)];
      path += `M${x.toFixed(1)} ${y.toFixed(1)}l${side} ${side}m0 -${side}l-${side} ${side}`;
    }
  }
  return path;
}

function drawScale(siteData, largest, left, top) {
  const { count, matrix } = siteData;
  const steps = 41;
  const hasNegative = matrix.some(
    (value, index) =>
      value < 0 && index % (count + 1) && !areBothUnknown(siteData, Math.floor(index / count), index % count),
  );
  const lowest = hasNegative ? -1 : 0; // the half below zero is drawn only if it is used
  const getShare = (step) => lowest + ((1 - lowest) * step) / (steps - 1);
  const cells = Array.from({ length: steps }, (_, step) => {
    const cell = svgElement("rect", {
      class: getShare(step) < 0 ? "negative" : "positive",
      x: left + (step * SCALE_WIDTH) / steps,
      y: top,
      width: SCALE_WIDTH / steps + 0.4,
      height: 8,
    });
    cell.setAttribute("fill-opacity", Math.abs(getShare(step)).toFixed(3));
    return cell;
  });
  const drawNumber = (value, x, anchor) =>
    svgElement("text", { x, y: top + 20, "text-anchor": anchor, "font-size": 11 }, formatNumber(value));
  return svgElement(
    "g",
    { class: "scale" },
    cells,
    drawNumber(lowest * largest, left, "start"),
    hasNegative ? drawNumber(0, left + SCALE_WIDTH / 2, "middle") : null,
    drawNumber(largest, left + SCALE_WIDTH, "end"),
  );
}

function addListeners(picture, siteData, { left, top, cell, cross }) {
  const { words, wordOfRow, count, matrix, isAttention } = siteData;
  const findCell = (event) => {
    const point = new DOMPoint(event.clientX, event.clientY).matrixTransform(picture.getScreenCTM().inverse());
    const [column, row] = [Math.floor((point.x - left) / cell), Math.floor((point.y - top) / cell)];
    return row >= 0 && column >= 0 && row < count && column < count ? [row, column] : null;
  };
  picture.addEventListener("pointermove", (event) => {
    const position = findCell(event);
    if (!position) return leave();
    const [row, column] = position;
    const value = matrix[row * count + column];
    const [rowText, columnText] = position.map((index) => cleanText(words[wordOfRow[index]]));
    mark(wordOfRow[row]);
    moveCross(row, column);
    return showTip(event, [
      isAttention ? `${rowText} → ${columnText}` : `${rowText} – ${columnText}`,
      `${isAttention ? "attention" : row === column ? "squared norm" : "interference"} ${formatNumber(value)}`,
      ...(areBothUnknown(siteData, row, column) ? ["both unknown to the tokenizer"] : []),
    ]);
  });
  picture.addEventListener("pointerleave", leave);
  picture.addEventListener("click", (event) => {
    const position = findCell(event);
    if (position) pick(wordOfRow[position[0]]);
  });
  picture.addEventListener("marked", (event) => {
    const row = wordOfRow.indexOf(event.detail);
    moveCross(row, row);
  });

  function leave() {
    mark(null);
    hideTip();
  }

  function moveCross(row, column) {
    cross[0].setAttribute("y", top + row * cell);
    cross[1].setAttribute("x", left + column * cell);
    for (const bar of cross) bar.classList.toggle("on", row >= 0);
  }
}

onMark((word) => {
  for (const picture of document.querySelectorAll("svg.matrix"))
    picture.dispatchEvent(new CustomEvent("marked", { detail: word }));
});
