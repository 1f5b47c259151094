// Draws the sentence: its words, shaded by a measure, the prediction, and a line about the marked word.

import { canDelete, findDeleted, toggleWord } from "./deletion.js";
import { byId, element, listen } from "./elements.js";
import { areBothUnknown, describeSign, findScale, judgeAnswer, nameLabel } from "./explanations.js";
import { cleanText, formatNumber, formatPercent, MINUS, shorten, UNKNOWN_MARK, UNKNOWN_MEANING } from "./numbers.js";
import { makePanel } from "./pictures.js";
import { mark, onMark, pick, state } from "./state.js";
import { update } from "./update.js";

export const LONG_TEXT = 40; // words above which the strongest are listed first
const STRONGEST = 10;
const MAX_NEIGHBOURS = 3;
const MAX_UNREAD = 1500; // letters of what was not read

let drawn = { entries: null, measure: "" }; // what the sentence shows

// `label` and `text` are those of the chosen row, or what was typed.
export function drawSentence(container, entries, measure, { label, text }) {
  drawn = { entries, measure };
  const scale = findScale(entries, state.measure);
  update(
    container,
    entries.map((entry) =>
      makePanel({
        entry,
        subject: "Words",
        sideBySide: entries.length > 1,
        body: element(
          "div",
          {},
          makePrediction(entry.explanation, label),
          listStrongest(entry, scale),
          shadeWords(entry, scale, text),
        ),
        note: makeNote(entry.explanation),
        getRows: () => makeRows(entry, measure),
      }),
    ),
  );
}

function makeNote({ left_out: leftOut, unknown_note: unknownNote }) {
  return [leftOut, unknownNote && `${UNKNOWN_MARK} ${cleanText(unknownNote)}`].filter(Boolean).join(" ") || null;
}

// By number, since two classes may share a name.
export function makePrediction({ prediction, answer, labels, shares, predicted, is_regression: isNumber }, label) {
  const format = (share) => (isNumber ? formatNumber(share) : formatPercent(share, 1));
  const others = labels.map((name, number) => [name, shares[number]]).filter((_, number) => number !== predicted);
  return element(
    "p",
    { class: "predicted" },
    "predicted ",
    element("b", {}, cleanText(prediction)),
    ` ${format(shares[predicted])}`,
    label === null ? null : makeVerdict(answer, label, isNumber),
    element(
      "span",
      { class: "faint" },
      others.map(([name, share]) => ` · ${cleanText(name)} ${format(share)}`).join(""),
    ),
  );
}

// Several classes are right if all of them are; a number is neither right nor wrong.
function makeVerdict(answer, label, isNumber) {
  const { isRight, labelName } = judgeAnswer(answer, label);
  if (isNumber) return element("span", { class: "faint" }, `, the label is ${labelName}`);
  return element("span", { class: isRight ? "right" : "wrong" }, isRight ? " ✓ right" : ` ✗ the label is ${labelName}`);
}

// Lines of words, one line for every text of a pair. `makeNode` makes the button of a word. The arrow keys move from
// word to word.
export function layOutWords(words, textOfWord, order, makeNode) {
  const lines = [];
  order.forEach((word) => {
    const text = words[word];
    const number = textOfWord[word];
    const line = (lines[number] ??= element("div", { class: "words", dir: "auto", key: `line ${number}` }));
    line.append(makeNode(text, word), " ");
  });
  const container = element("div", { class: "lines", keydown: moveFocus }, lines.filter(Boolean));
  [...container.querySelectorAll("button")].forEach((button, index) => {
    button.tabIndex = index ? -1 : 0;
  });
  return container;
}

function moveFocus(event) {
  const forward = getComputedStyle(event.target).direction === "rtl" ? -1 : 1;
  const step = { ArrowRight: forward, ArrowLeft: -forward, Home: -Infinity, End: Infinity }[event.key];
  const buttons = [...event.currentTarget.querySelectorAll("button")];
  const index = buttons.indexOf(event.target);
  if (step === undefined || index < 0) return;
  event.preventDefault();
  const next = buttons[Math.min(Math.max(index + step, 0), buttons.length - 1)];
  for (const button of buttons) button.tabIndex = button === next ? 0 : -1;
  next.focus();
}

// A word with a mark, which a screen reader says in words, if it is unknown to the tokenizer.
export function makeWord(text, isUnknown) {
  return [
    element("bdi", {}, cleanText(text)),
    isUnknown ? element("span", { "aria-hidden": "true" }, UNKNOWN_MARK) : null,
    isUnknown ? element("span", { class: "hidden" }, `, ${UNKNOWN_MEANING}`) : null,
  ];
}

// The words of the largest values, of a long text.
function listStrongest(entry, scale) {
  const { words } = entry.explanation;
  if (words.length <= LONG_TEXT || !entry.siteData?.values) return null;
  const strongest = rankWords(entry).slice(0, STRONGEST);
  return element(
    "p",
    { class: "strongest", key: "strongest" },
    "Strongest: ",
    strongest.flatMap((word) => [
      shadeWord(entry, scale, word, false),
      ` ${formatNumber(entry.siteData.values[word])}  `,
    ]),
  );
}

function rankWords({ explanation, siteData }) {
  const getSize = (word) => Math.abs(siteData?.values?.[word] ?? 0);
  return explanation.words.map((_, word) => word).sort((one, other) => getSize(other) - getSize(one) || one - other);
}

// What of a text stands behind the words that the model read; "" if that can't be told.
function findUnread(text, words) {
  let place = 0;
  for (const word of words) {
    const start = text.indexOf(word, place);
    if (start < 0 || text.slice(place, start).trim()) return "";
    place = start + word.length;
  }
  return text.slice(place).trim();
}

// A click deletes a word or brings it back, and a double click, which does both, keeps it marked. Where nothing can be
// deleted, a click keeps it marked.
function shadeWords(entry, scale, text) {
  const { words, text_of_word: textOfWord, truncated } = entry.explanation;
  const order = state.wordOrder === "strength" ? rankWords(entry) : words.map((_, word) => word);
  const lines = layOutWords(words, textOfWord, order, (_, word) => shadeWord(entry, scale, word, true));
  if (words.length > LONG_TEXT) lines.classList.add("long");
  const unread = truncated && !textOfWord.includes(1) ? findUnread(text, words) : "";
  if (unread)
    lines.lastElementChild.append(
      element("span", { class: "hidden", key: "unread-said" }, "The model did not read: "),
      element("span", { class: "unread", key: "unread", title: "not read by the model" }, shorten(unread, MAX_UNREAD)),
    );
  return lines;
}

// `stands` says whether it is the word in its place in the text, or one in a list.
function shadeWord(entry, scale, word, stands) {
  const { words, unknown } = entry.explanation;
  const deletes = canDelete(entry);
  const value = entry.siteData?.values?.[word] ?? 0;
  const isUnknown = unknown[word];
  const sign = entry.siteData ? describeSign(entry.siteData, word) : "";
  const button = element(
    "button",
    {
      type: "button",
      key: `${stands ? "word" : "strong"} ${word}`,
      class: ["word", isUnknown ? "unknown" : "", value < 0 ? "against" : ""].filter(Boolean).join(" "),
      title: isUnknown ? UNKNOWN_MEANING : null,
      "data-word": word,
      "aria-pressed": deletes ? String(findDeleted(entry).has(word)) : null,
    },
    // The minus is for people who can't tell the colours apart; a screen reader says it in words.
    sign && value < 0 ? element("span", { "aria-hidden": "true" }, MINUS) : null,
    makeWord(words[word], isUnknown),
    sign ? element("span", { class: "hidden" }, `, ${sign}`) : null,
  );
  button.style.setProperty("--share", (scale > 0 ? Math.min(Math.abs(value) / scale, 1) : 0).toFixed(3));
  for (const name of ["pointerenter", "focus"]) listen(button, name, () => mark(word));
  for (const name of ["pointerleave", "blur"]) listen(button, name, () => mark(null));
  listen(button, "click", () => (deletes ? toggleWord(word, entry) : pick(word)));
  if (deletes) listen(button, "dblclick", () => pick(word));
  listen(button, "keydown", ({ key }) => key === "m" && pick(word));
  return button;
}

function makeRows({ explanation, siteData, whatIf }, measure) {
  const sites = Object.entries(explanation.sites);
  const others = [
    ...Object.entries(explanation.relevance).map(([label, values]) => [
      `relevance for ${nameLabel(explanation, label)}`,
      values,
    ]),
    ...Object.entries(explanation.other),
  ];
  const hasUnknown = explanation.unknown.some(Boolean);
  const head = [
    "word",
    ...(hasUnknown ? [UNKNOWN_MEANING] : []),
    ...(explanation.keep ? ["keep probability"] : []),
    ...(whatIf?.alone ? ["probability without it"] : []),
  ];
  for (const [name] of sites) head.push(`capacity ${name}`, `polysemanticity ${name}`);
  if (siteData?.isAttention) head.push(`${measure} layer ${siteData.layer}`);
  head.push(...others.map(([name]) => name));
  return [
    head,
    ...explanation.words.map((text, word) => [
      text,
      ...(hasUnknown ? [explanation.unknown[word] ? "yes" : "no"] : []),
      ...(explanation.keep ? [explanation.keep[word]] : []),
      ...(whatIf?.alone ? [whatIf.alone[word]] : []),
      ...sites.flatMap(([, site]) => [site.capacity[word], site.polysemanticity[word]]),
      ...(siteData?.isAttention ? [siteData.values?.[word]] : []),
      ...others.map(([, values]) => values[word]),
    ]),
  ];
}

function describeNeighbours(siteData, word) {
  const { words, wordOfRow, count, matrix, isAttention } = siteData;
  const row = wordOfRow.indexOf(word);
  if (row < 0 || count < 2) return "";
  const neighbours = wordOfRow
    .map((neighbour, column) => [neighbour, areBothUnknown(siteData, row, column) ? 0 : matrix[row * count + column]])
    .filter(([neighbour, value]) => neighbour !== word && value)
    .sort((one, other) => Math.abs(other[1]) - Math.abs(one[1]));
  if (!neighbours.length) return "";
  const descriptions = neighbours
    .slice(0, MAX_NEIGHBOURS)
    .map(([neighbour, value]) => `“${cleanText(words[neighbour])}” ${formatNumber(value)}`);
  return `, ${isAttention ? "attends most to" : "interferes most with"} ${descriptions.join(", ")}`;
}

function getHint() {
  return drawn.entries?.some(canDelete)
    ? "Point at a word to see it in every picture; click it to delete it, or double-click (M) to keep it marked."
    : "Point at a word to see it in every picture; click it to keep it marked.";
}

onMark((word) => {
  const line = byId("marked");
  const { entries, measure } = drawn;
  if (word === null || !entries) {
    if (line.textContent !== getHint()) line.textContent = getHint(); // it is read out whenever it changes
    return;
  }
  const parts = entries
    .filter(({ siteData }) => siteData && word < siteData.words.length)
    .map(({ run, siteData }) => {
      const prefix = entries.length > 1 ? `${run}: ` : "";
      const value = formatNumber(siteData.values?.[word]);
      const sign = describeSign(siteData, word);
      const saidSign = sign && siteData.target ? `, ${sign}` : "";
      return `${prefix}${measure.toLowerCase()} ${value}${saidSign}${describeNeighbours(siteData, word)}`;
    });
  const first = entries.find(({ explanation }) => word < explanation.words.length);
  line.replaceChildren(
    ...(first
      ? [
          element("b", {}, element("bdi", {}, cleanText(first.explanation.words[word]))),
          first.explanation.unknown[word] ? `, ${UNKNOWN_MEANING}:` : "",
          ` ${parts.join(" · ") || "nothing at this site"}`,
        ]
      : []),
  );
});
