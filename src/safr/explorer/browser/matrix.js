// Draws the value of every pair of words as a coloured cell: red above zero, blue below.
// The cells are one image with one pixel per cell, so that two hundred words are drawn as fast as ten.

import { byId, element, listen, setOptions, svgElement } from "./elements.js";
import { explainNoDifference, findLimit, prepareMatrices } from "./matrix_values.js";
import { cleanText, formatNumber, nameWord } from "./numbers.js";
import { hideTip, makeEmptyPanel, makePanel, makeUnknownNote, measurePanel, setSize, showTip } from "./pictures.js";
import { change, mark, onMark, pick, state } from "./state.js";
import { update } from "./update.js";

const MIN_LABELLED_CELL = 9; // size of a cell above which words fit beside it
const MAX_DASHED_WORDS = 40; // with more words, the dashes of negative cells would look grey
const MIN_DASHED_SHARE = 0.15;
const SCALE_WIDTH = 130;

export function drawMatrix(container, entries) {
  drawChoices(entries);
  const reason = state.cells === "difference" ? explainNoDifference(entries) : "";
  if (reason) {
    update(container, element("p", { class: "none" }, reason));
    return;
  }
  const width = measurePanel(container);
  const tables = prepareMatrices(entries, state);
  const sideBySide = tables.length > 1;
  update(
    container,
    tables.map((table, place) => {
      const entry = entries[place];
      if (!table) return makeEmptyPanel(entry, sideBySide, entry.emptyMessage);
      return makePanel({
        entry,
        subject: getSubject(table),
        sideBySide,
        body: drawPicture(table, width),
        note: makeNote(table, entries),
        getPicture: (panel) => panel.querySelector("svg.matrix"),
        getRows: () => makeRows(table),
      });
    }),
  );
}

for (const name of ["cells", "arrangement"])
  listen(byId(name), "change", (event) => change({ [name]: event.currentTarget.value }));

function drawChoices(entries) {
  const isAttention = state.site === "attention";
  const values = isAttention ? "weights" : "overlaps";
  setOptions(
    byId("cells"),
    [
      ["values", values],
      ...(isAttention ? [] : [["cosines", "cosines"]]),
      ...(entries.length > 1 ? [["difference", `difference of the runs' ${isAttention ? values : "cosines"}`]] : []),
    ],
    state.cells,
  );
  if (!byId("cells").value) byId("cells").value = "values";
  byId("arrangement").value = state.arrangement;
}

function getSubject({ isAttention, areCosines }) {
  if (state.cells === "difference") return isAttention ? "Difference of attention" : "Difference of cosines";
  return isAttention ? "Attention" : areCosines ? "Cosine" : "Interference";
}

function makeNote(table, entries) {
  const { siteData, rows, isAttention } = table;
  const { limit, largest } = findLimit(table);
  const look = isAttention ? "" : "Cells of two such words are crossed and off the scale.";
  return [
    state.cells === "difference" ? `${entries[0].run} minus ${entries[1].run}.` : "",
    rows.length < siteData.words.length
      ? `Shown: the ${rows.length} words of highest capacity, of ${siteData.words.length}.`
      : "",
    state.arrangement === "clusters" ? "Words that share most are next to each other." : "",
    limit < largest ? `The strongest 2 % of the pairs, up to ${formatNumber(largest)}, all have the full colour.` : "",
    isAttention ? "Rows pay attention to columns." : "The grey diagonal, each word with itself, is off the scale.",
    makeUnknownNote(siteData, look),
  ]
    .filter(Boolean)
    .join(" ");
}

function makeRows({ siteData, rows, values }) {
  const count = rows.length;
  return [
    ["word", ...rows.map((word) => siteData.words[word])],
    ...rows.map((word, row) => [
      siteData.words[word],
      ...[...values.slice(row * count, (row + 1) * count)].map((value) => Number(value.toPrecision(4))),
    ]),
  ];
}

function drawPicture(table, maxWidth) {
  const { siteData, rows } = table;
  const count = rows.length;
  const names = rows.map((word) => nameWord(siteData, word, 14));
  const labelWidth = Math.max(0, ...names.map((name) => [...name].length)) * 6.6 + 10;
  const cell = Math.min((Math.min(maxWidth, 760) - labelWidth) / count, 26);
  const hasLabels = cell >= MIN_LABELLED_CELL;
  const [left, top] = hasLabels ? [labelWidth, labelWidth] : [4, 4];
  const side = hasLabels ? cell * count : Math.min(maxWidth, 760) - 8;
  const shape = { left, top, side, cell: side / count };
  const { limit, largest } = findLimit(table);
  const [width, height] = [Math.max(left + side + 4, SCALE_WIDTH + 90), top + side + 44];
  const labels = hasLabels ? names.flatMap((name, i) => drawLabels(name, rows[i], i, shape)) : [];
  const description = `${getSubject(table)} between ${count} words; the largest has size ${formatNumber(largest)}`;
  const picture = svgElement(
    "svg",
    { class: "matrix", role: "img", "aria-label": description },
    svgElement("image", {
      x: left,
      y: top,
      width: side,
      height: side,
      href: paintCells(table, limit),
      preserveAspectRatio: "none",
    }),
    svgElement("path", { class: "dashes", d: makeDashes(table, limit, shape) }),
    svgElement("path", { class: "crosses", d: makeCrosses(table, shape) }),
    svgElement("rect", { class: "cross", width: side, height: shape.cell, x: left }),
    svgElement("rect", { class: "cross", width: shape.cell, height: side, y: top }),
    svgElement("rect", { class: "edge", x: left, y: top, width: side, height: side }),
    labels,
    drawScale(table, { limit, largest }, left, top + side + 12),
  );
  addListeners(picture, table, shape);
  return setSize(picture, width, height);
}

function drawLabels(name, word, i, { left, top, cell }) {
  const middle = (i + 0.5) * cell;
  const positions = [
    { x: left - 5, y: top + middle, "text-anchor": "end" },
    { transform: `translate(${left + middle} ${top - 5}) rotate(-90)` },
  ];
  return positions.map((position) => {
    const label = svgElement("text", { ...position, "data-word": word, "dominant-baseline": "central" }, name);
    label.style.fontSize = `${Math.min(12, cell * 0.85).toFixed(1)}px`; // an attribute would lose to the style sheet
    return label;
  });
}

// The address of an image with one pixel per cell.
function paintCells(table, limit) {
  const { values, rows, isDiagonal, isOff } = table;
  const count = rows.length;
  const canvas = element("canvas", { width: count, height: count });
  const context = canvas.getContext("2d");
  const pixels = context.createImageData(count, count);
  const names = ["--positive", "--negative", "--diagonal", "--cell"];
  const [positive, negative, diagonal, zero] = names.map(readColour);
  for (let i = 0; i < count * count; i += 1) {
    const share = isOff(i, count) || !Number.isFinite(values[i]) ? 0 : Math.min(Math.abs(values[i]) / (limit || 1), 1);
    const strongest = values[i] < 0 ? negative : positive;
    const colour = isDiagonal(Math.floor(i / count), i % count)
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

function makeDashes({ values, rows, isOff }, limit, { left, top, cell }) {
  const count = rows.length;
  if (count > MAX_DASHED_WORDS) return "";
  let path = "";
  for (let i = 0; i < count * count; i += 1) {
    if (!(values[i] < -MIN_DASHED_SHARE * limit) || isOff(i, count)) continue;
    const [x, y] = [left + ((i % count) + 0.28) * cell, top + (Math.floor(i / count) + 0.5) * cell];
    path += `M${x.toFixed(1)} ${y.toFixed(1)}h${(0.44 * cell).toFixed(1)}`;
  }
  return path;
}

// A cross in every cell of two unknown words, whatever their number: without it the cell would look like one of 0.
function makeCrosses({ rows, isPairOfUnknown }, { left, top, cell }) {
  let path = "";
  for (let i = 0; i < rows.length; i += 1) {
    for (let j = 0; j < rows.length; j += 1) {
      if (!isPairOfUnknown(i, j)) continue;
      const [x, y, side] = [left + (j + 0.3) * cell, top + (i + 0.3) * cell, (0.4 * cell).toFixed(1)];
      path += `M${x.toFixed(1)} ${y.toFixed(1)}l${side} ${side}m0 -${side}l-${side} ${side}`;
    }
  }
  return path;
}

function drawScale({ values, rows, isOff }, { limit, largest }, left, top) {
  const steps = 41;
  const hasNegative = values.some((value, cell) => value < 0 && !isOff(cell, rows.length));
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
  const drawNumber = (text, x, anchor) => svgElement("text", { x, y: top + 20, "text-anchor": anchor }, text);
  const [below, above] = limit < largest ? ["≤ ", "≥ "] : ["", ""];
  return svgElement(
    "g",
    { class: "scale" },
    cells,
    drawNumber(hasNegative ? below + formatNumber(-limit) : "0", left, "start"),
    hasNegative ? drawNumber("0", left + SCALE_WIDTH / 2, "middle") : null,
    drawNumber(above + formatNumber(limit), left + SCALE_WIDTH, "end"),
  );
}

function addListeners(picture, table, { left, top, cell }) {
  const { siteData, rows, values, isAttention, isPairOfUnknown } = table;
  const findCell = (event) => {
    const inverse = event.currentTarget.getScreenCTM().inverse();
    const point = new DOMPoint(event.clientX, event.clientY).matrixTransform(inverse);
    const [column, row] = [Math.floor((point.x - left) / cell), Math.floor((point.y - top) / cell)];
    return row >= 0 && column >= 0 && row < rows.length && column < rows.length ? [row, column] : null;
  };
  listen(picture, "pointermove", (event) => {
    const position = findCell(event);
    if (!position) return leave();
    const [row, column] = position;
    const [rowText, columnText] = position.map((index) => cleanText(siteData.words[rows[index]]));
    mark(rows[row]);
    moveCross(event.currentTarget, row, column);
    return showTip(event, [
      isAttention ? `${rowText} → ${columnText}` : `${rowText} – ${columnText}`,
      `${nameValue(row, column)} ${formatNumber(values[row * rows.length + column])}`,
      ...(isPairOfUnknown(row, column) ? ["both unknown to the tokenizer"] : []),
    ]);
  });
  listen(picture, "pointerleave", leave);
  listen(picture, "click", (event) => {
    const position = findCell(event);
    if (position) pick(rows[position[0]]);
  });
  listen(picture, "marked", (event) => {
    const row = rows.indexOf(event.detail);
    moveCross(event.currentTarget, row, row);
  });

  function nameValue(row, column) {
    const isNorm = getSubject(table) === "Interference" && row === column;
    return isNorm ? "squared norm" : getSubject(table).toLowerCase();
  }

  function leave() {
    mark(null);
    hideTip();
  }

  function moveCross(node, row, column) {
    const bars = node.querySelectorAll(".cross");
    bars[0].setAttribute("y", top + row * cell);
    bars[1].setAttribute("x", left + column * cell);
    for (const bar of bars) bar.classList.toggle("on", row >= 0);
  }
}

onMark((word) => {
  for (const picture of document.querySelectorAll("svg.matrix"))
    picture.dispatchEvent(new CustomEvent("marked", { detail: word }));
});
