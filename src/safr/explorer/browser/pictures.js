// What all pictures share: the tip beside the mouse, words that are marked in all views, sizes, and the panels.

import { byId, element, listen } from "./elements.js";
import { mark, onMark, pick, state } from "./state.js";
import { cleanText, formatNumber, UNKNOWN_MARK, UNKNOWN_MEANING } from "./numbers.js";
import { makeSaveMenu, makeTable } from "./saving.js";

const tip = byId("tip");

export function showTip(event, lines) {
  tip.replaceChildren(...lines.map((line, index) => element(index || lines.length === 1 ? "div" : "b", {}, line)));
  tip.hidden = false;
  const { width, height } = tip.getBoundingClientRect();
  const left = Math.min(event.clientX + 14, innerWidth - width - 8);
  const top = event.clientY + 18;
  tip.style.left = `${Math.max(left, 8)}px`;
  tip.style.top = `${top + height > innerHeight ? event.clientY - height - 12 : top}px`;
}

// Shows the tip under a box, as of a term.
export function showTipAt({ left, bottom }, lines) {
  showTip({ clientX: left - 14, clientY: bottom - 12 }, lines);
}

export function hideTip() {
  tip.hidden = true;
}

// Makes a node stand for a word: pointing at it marks the word everywhere, and clicking it picks the word.
export function linkToWord(node, word, getTipLines) {
  node.setAttribute("data-word", word);
  listen(node, "pointerenter", (event) => {
    mark(word);
    if (event.pointerType === "mouse") showTip(event, getTipLines());
  });
  listen(node, "pointerleave", () => {
    mark(null);
    hideTip();
  });
  listen(node, "click", () => pick(word));
  return node;
}

export function markInPictures(markedWord, markedWords) {
  for (const node of document.querySelectorAll("[data-word]")) {
    const word = Number(node.getAttribute("data-word"));
    node.classList.toggle("marked", markedWords.has(word));
    if (node.tagName === "BUTTON" && word === state.word) node.setAttribute("aria-current", "true");
    else node.removeAttribute("aria-current");
  }
}

onMark(markInPictures);

// Width of a container in the units of pictures. A unit is a pixel if letters have 16 pixels.
export function measureWidth(container) {
  const pixelsPerUnit = Number.parseFloat(getComputedStyle(document.documentElement).fontSize) / 16;
  return Math.max(container.clientWidth / pixelsPerUnit, 240);
}

// Width of one of the container's panels, in the same units: as many stand beside each other as its style says.
export function measurePanel(container) {
  const pixelsPerUnit = Number.parseFloat(getComputedStyle(document.documentElement).fontSize) / 16;
  const [column] = getComputedStyle(container).gridTemplateColumns.split(" ");
  return Math.max((Number.parseFloat(column) || 0) / pixelsPerUnit, 240);
}

export function setSize(picture, width, height) {
  picture.setAttribute("viewBox", `0 0 ${width.toFixed(1)} ${height.toFixed(1)}`);
  picture.style.width = `${width / 16}rem`;
  picture.style.maxWidth = "100%";
  return picture;
}

export function formatWordTip(siteData, word, measure, value) {
  return [
    cleanText(siteData.words[word]),
    `${measure} ${formatNumber(value)}`,
    ...(siteData.unknown[word] ? [UNKNOWN_MEANING] : []),
  ];
}

// A note about unknown words, or null if there are none. `look` says what a picture does with two of them.
export function makeUnknownNote({ unknown }, look) {
  const count = unknown.filter(Boolean).length;
  const note = `${UNKNOWN_MARK} ${UNKNOWN_MEANING}: the model reads all such words as one and the same.`;
  return count ? note + (count > 1 ? ` ${look}` : "") : null;
}

// One run's picture with a note, a table of its numbers, and a menu to save it. Its run is named if several runs stand
// side by side. `getPicture` gets the panel, and returns the picture in it. The `id` says what a panel is of, where its
// subject changes.
export function makePanel({ entry, subject, id = subject, body, note, getPicture, getRows, sideBySide }) {
  const title = `${subject}, ${entry.run}, ${cleanText(entry.siteTitle)}`;
  const name = `safr-${subject}-${entry.run}-${entry.siteData ? entry.siteName : "none"}`.toLowerCase();
  return element(
    "div",
    { class: "panel", "data-run": entry.runNumber, key: `${id} ${entry.run}` },
    sideBySide ? element("h3", {}, entry.run) : null,
    body,
    note ? element("p", { class: "note" }, note) : null,
    getRows
      ? element("div", { class: "foot" }, makeTable({ id: `${id} ${entry.run}`, title, getRows }), makeSaveMenu({ name, title, getPicture, getRows }))
      : null,
  );
}

export function makeEmptyPanel(entry, sideBySide, reason) {
  return makePanel({ entry, subject: "", body: element("p", { class: "none" }, reason), sideBySide });
}
