// Draws the values of two runs as dumbbells: a row for every word, a mark for each run, and a line between them.

import { MARKS } from "./curves.js";
import { element, svgElement } from "./elements.js";
import { cleanText, formatBeside, formatNumber, nameWord, shorten } from "./numbers.js";
import { formatWordTip, linkToWord, makePanel, makeUnknownNote, measureWidth, setSize } from "./pictures.js";
import { payload } from "./source.js";

const ROW_HEIGHT = 20;
const LETTER_WIDTH = 7.2; // average width of a letter at font size 13
const NUMBER_WIDTH = 58;
const LEGEND_HEIGHT = 26;

// Whether two runs can share a chart: both have values of the same words, about the same class.
export function canShareRows(entries) {
  if (entries.length !== 2) return false;
  const [one, other] = entries.map(({ siteData }) => siteData);
  if (!one?.values || !other?.values || one.words.length !== other.words.length) return false;
  if (one.target !== other.target) return false; // values for two classes are no two values of one thing
  return one.words.every((text, word) => text === other.words[word]);
}

// `order` are the words in the order of the rows, and `range` is the lowest and highest value.
export function makeDumbbellPanel(container, entries, measure, order, range) {
  const run = entries.map((entry) => entry.run).join(" and ");
  const [{ siteData }] = entries;
  const look = "They are alike to the model, so their marks are hollow.";
  const isUnknown = siteData.unknown.map((unknown, word) => unknown || entries[1].siteData.unknown[word]);
  const panel = makePanel({
    entry: { ...entries[0], run },
    subject: measure,
    id: "bars",
    sideBySide: false,
    body: element(
      "div",
      { class: "scroll tall", tabindex: "0", role: "region", "aria-label": `${measure} of each word, ${run}` },
      drawPicture(entries, measure, order, range, measureWidth(container)),
    ),
    note: makeUnknownNote({ unknown: isUnknown }, look),
    getPicture: (node) => node.querySelector("svg.dumbbells"),
    getRows: () => [
      ["word", ...entries.map((entry) => `${nameMeasure(entry, measure)}, ${entry.run}`)],
      ...order.map((word) => [siteData.words[word], ...entries.map((entry) => entry.siteData.values[word])]),
    ],
  });
  panel.classList.add("both");
  return panel;
}

function nameMeasure({ siteData }, measure) {
  return siteData.target ? `${measure} for ${cleanText(siteData.target)}` : measure;
}

function drawPicture(entries, measure, order, [low, high], width) {
  const [{ siteData }] = entries;
  const names = siteData.words.map((_, word) => nameWord(siteData, word));
  const left = Math.min(Math.max(...names.map((name) => [...name].length)) * LETTER_WIDTH + 10, width / 2.8);
  const right = width - entries.length * NUMBER_WIDTH - 8;
  const scaleX = (value) => left + (right - left) * ((value - low) / (high - low || 1));
  const rows = order.map((word, row) => drawRow(word, LEGEND_HEIGHT + row * ROW_HEIGHT));
  const height = LEGEND_HEIGHT + order.length * ROW_HEIGHT;
  const gaps = order.map((word) => [word, Math.abs(findDifference(entries, word) ?? 0)]);
  const [widest] = gaps.reduce((one, other) => (other[1] > one[1] ? other : one), [null, -1]);
  const description =
    `${measure} of ${names.length} words in ${entries.map(({ run }) => run).join(" and ")}` +
    (widest === null ? "" : `; they differ most in ${names[widest]}`);
  const picture = svgElement(
    "svg",
    { class: "bars dumbbells", role: "img", "aria-label": description },
    svgElement("line", {
      class: low < 0 ? "axis zero" : "axis",
      x1: scaleX(0),
      x2: scaleX(0),
      y1: LEGEND_HEIGHT,
      y2: height,
    }),
    rows,
    drawLegend(entries, width),
  );
  return setSize(picture, width, height);

  function drawRow(word, top) {
    const values = entries.map((entry) => entry.siteData.values[word]);
    const middle = ROW_HEIGHT / 2;
    const isUnknown = entries.some((entry) => entry.siteData.unknown[word]);
    const node = svgElement(
      "g",
      { class: "word-row", key: `${word} ${siteData.words[word]}`, transform: `translate(0 ${top})` },
      svgElement("rect", { class: "strip", x: 0, y: 0, width, height: ROW_HEIGHT }),
      svgElement("text", { x: left - 8, y: middle, "text-anchor": "end", "dominant-baseline": "central" }, names[word]),
      values.every((value) => value !== null)
        ? svgElement("path", {
            class: "between",
            d: `M${scaleX(values[0]).toFixed(1)} ${middle}L${scaleX(values[1]).toFixed(1)} ${middle}`,
          })
        : null,
      entries.map((entry, place) =>
        values[place] === null ? null : drawMark(entry, scaleX(values[place]), middle, isUnknown),
      ),
      values.map((value, place) =>
        svgElement(
          "text",
          {
            class: "value",
            "data-run": entries[place].runNumber,
            x: right + 8 + (place + 1) * NUMBER_WIDTH - 6,
            y: middle,
            "text-anchor": "end",
            "dominant-baseline": "central",
          },
          formatBeside(value, Math.max(-low, high)),
        ),
      ),
    );
    return linkToWord(node, word, () => [
      formatWordTip(siteData, word, measure, values[0])[0],
      ...entries.map((entry, place) => `${entry.run} ${formatNumber(values[place])}`),
      `difference ${formatNumber(findDifference(entries, word))}`,
    ]);
  }
}

export function findDifference([one, other], word) {
  const values = [one.siteData.values[word], other.siteData.values[word]];
  return values.includes(null) ? null : values[0] - values[1];
}

// A mark has the colour and the shape of its run, as in all charts.
function drawMark({ runNumber }, x, y, isHollow) {
  return svgElement("path", {
    class: `dumbbell-mark run-${runNumber % payload.look.runColours}${isHollow ? " hollow" : ""}`,
    key: `mark ${runNumber}`,
    d: `M0 0${MARKS[runNumber % MARKS.length]}`,
    transform: `translate(${x.toFixed(1)} ${y.toFixed(1)}) scale(1.25)`,
  });
}

// The runs' names, and their marks above the columns of numbers.
function drawLegend(entries, width) {
  const middle = LEGEND_HEIGHT / 2;
  const room = (width - entries.length * NUMBER_WIDTH - 8) / entries.length;
  return svgElement(
    "g",
    { class: "legend", key: "legend" },
    entries.flatMap((entry, place) => [
      drawMark(entry, 8 + place * room, middle, false),
      svgElement(
        "text",
        { x: 18 + place * room, y: middle, "dominant-baseline": "central" },
        shorten(entry.run, Math.max(Math.floor((room - 26) / LETTER_WIDTH), 3)),
      ),
      drawMark(
        { runNumber: entry.runNumber },
        width - (entries.length - place - 1) * NUMBER_WIDTH - 14,
        middle,
        false,
      ),
    ]),
  );
}
