// Draws a bar for the value of every word. Two runs share one chart of dumbbells if they read the same words.

import { canShareRows, findDifference, makeDumbbellPanel } from "./dumbbells.js";
import { byId, element, listen, setOptions, svgElement } from "./elements.js";
import { describeSign, quoteTarget } from "./explanations.js";
import { cleanText, formatBeside, nameWord } from "./numbers.js";
import {
  formatWordTip,
  linkToWord,
  makeEmptyPanel,
  makePanel,
  makeUnknownNote,
  measurePanel,
  setSize,
} from "./pictures.js";
import { change, state } from "./state.js";
import { update } from "./update.js";

const ROW_HEIGHT = 20;
const LETTER_WIDTH = 7.2; // average width of a letter at font size 13
const NUMBER_WIDTH = 58;

export function drawBars(container, entries, measure) {
  const values = entries.flatMap(({ siteData }) => (siteData?.values ?? []).filter((value) => value !== null));
  const range = [Math.min(0, ...values), Math.max(0, ...values)];
  const isShared = canShareRows(entries);
  const strongest = isShared ? "largest difference first" : "largest first";
  setOptions(
    byId("row-order"),
    [
      ["text", "of the text"],
      ["size", strongest],
    ],
    state.rowOrder,
  );
  if (isShared) {
    const order = orderWords(entries[0].siteData, (word) => findDifference(entries, word));
    update(container, makeDumbbellPanel(container, entries, measure, order, range));
    return;
  }
  update(
    container,
    entries.map((entry) => makeBarPanel(entry, measure, range, measurePanel(container), entries.length > 1)),
  );
}

listen(byId("row-order"), "change", (event) => change({ rowOrder: event.currentTarget.value }));

// The words in the order of the text, or by the size of a value, the largest first.
function orderWords({ words }, getValue) {
  const order = words.map((_, word) => word);
  const getSize = (word) => Math.abs(getValue(word) ?? 0);
  return state.rowOrder === "size" ? order.sort((one, other) => getSize(other) - getSize(one)) : order;
}

function makeBarPanel(entry, measure, range, width, sideBySide) {
  const { siteData } = entry;
  if (!siteData?.values) return makeEmptyPanel(entry, sideBySide, `${measure} is not there in this run.`);
  const { target } = siteData;
  const title = target ? `${measure} for ${cleanText(target)}` : measure;
  const order = orderWords(siteData, (word) => siteData.values[word]);
  return makePanel({
    entry,
    subject: measure,
    id: "bars",
    sideBySide,
    body: element(
      "div",
      { class: "scroll tall", tabindex: "0", role: "region", "aria-label": `${measure} of each word, ${entry.run}` },
      drawPicture(siteData, measure, order, range, width),
    ),
    note: makeUnknownNote(siteData, "They are alike to the model, so their bars are hollow."),
    getPicture: (panel) => panel.querySelector("svg.bars"),
    getRows: () => [["word", title], ...order.map((word) => [siteData.words[word], siteData.values[word]])],
  });
}

function drawPicture(siteData, measure, order, [low, high], width) {
  const names = siteData.words.map((_, word) => nameWord(siteData, word));
  const left = Math.min(Math.max(...names.map((name) => [...name].length)) * LETTER_WIDTH + 10, width / 2.5);
  const axisWidth = width - left - NUMBER_WIDTH;
  const scaleX = (value) => left + axisWidth * ((value - low) / (high - low || 1));
  const rows = order.map((word, place) => {
    const value = siteData.values[word];
    const [start, end] = [scaleX(0), scaleX(value ?? 0)];
    const row = svgElement(
      "g",
      {
        class: "word-row",
        key: `${word} ${siteData.words[word]}`,
        transform: `translate(0 ${place * ROW_HEIGHT})`,
      },
      svgElement("rect", { class: "strip", x: 0, y: 0, width, height: ROW_HEIGHT }),
      svgElement(
        "text",
        { x: left - 8, y: ROW_HEIGHT / 2, "text-anchor": "end", "dominant-baseline": "central" },
        names[word],
      ),
      svgElement("rect", {
        class: `bar${value < 0 ? " below" : ""}${siteData.unknown[word] ? " hollow" : ""}`,
        x: Math.min(start, end),
        y: 3,
        width: Math.abs(end - start),
        height: ROW_HEIGHT - 6,
      }),
      svgElement(
        "text",
        { class: "value", x: Math.max(start, end) + 5, y: ROW_HEIGHT / 2, "dominant-baseline": "central" },
        formatBeside(value, Math.max(-low, high)),
      ),
    );
    return linkToWord(row, word, () => [
      ...formatWordTip(siteData, word, measure.toLowerCase(), value),
      ...(siteData.target ? [describeSign(siteData, word)].filter(Boolean) : []),
    ]);
  });
  const highest = names[siteData.values.indexOf(Math.max(...siteData.values.map((value) => value ?? -Infinity)))];
  const lowest = names[siteData.values.indexOf(Math.min(...siteData.values.map((value) => value ?? Infinity)))];
  const about = siteData.target ? ` for ${quoteTarget(siteData.target)}` : "";
  const description =
    `${measure}${about} of ${names.length} words; the highest is ${highest ?? "none"}` +
    (siteData.signed ? `, the lowest ${lowest ?? "none"}` : "");
  const picture = svgElement(
    "svg",
    { class: "bars", role: "img", "aria-label": description },
    rows,
    svgElement("line", {
      class: siteData.signed ? "axis zero" : "axis",
      x1: scaleX(0),
      x2: scaleX(0),
      y1: 0,
      y2: names.length * ROW_HEIGHT,
    }),
  );
  return setSize(picture, width, names.length * ROW_HEIGHT);
}
