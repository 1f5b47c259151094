// What all pictures share: a tip beside the mouse, words that mark each other, and a size.

import { byId, element } from "./elements.js";
import { mark, pick, state, whenMarked } from "./state.js";
import { digits, shown } from "./numbers.js";
import { saveMenu, tableOf } from "./saving.js";

const tip = byId("tip");

export function showTip(event, lines) {
  tip.replaceChildren(...lines.map((line, place) => element(place ? "div" : "b", {}, line)));
  tip.hidden = false;
  const { width, height } = tip.getBoundingClientRect();
  const left = Math.min(event.clientX + 14, innerWidth - width - 8);
  const below = event.clientY + 18;
  tip.style.left = `${Math.max(left, 8)}px`;
  tip.style.top = `${below + height > innerHeight ? event.clientY - height - 12 : below}px`;
}

export function hideTip() {
  tip.hidden = true;
}

// Makes an element stand for a word: hovering marks it everywhere, clicking picks it.
export function standsFor(made, word, lines) {
  made.setAttribute("data-word", word);
  made.addEventListener("pointerenter", (event) => {
    mark(word);
    if (lines && event.pointerType === "mouse") showTip(event, lines());
  });
  made.addEventListener("pointerleave", () => {
    mark(null);
    hideTip();
  });
  made.addEventListener("click", () => pick(word));
  return made;
}

export function markAll(marked) {
  for (const each of document.querySelectorAll("[data-word]")) {
    const word = Number(each.getAttribute("data-word"));
    each.classList.toggle("marked", marked !== null && word === marked);
    if (each.tagName === "BUTTON") each.setAttribute("aria-pressed", String(word === state.word));
  }
  for (const picture of document.querySelectorAll("svg.graph")) {
    const lines = [...picture.querySelectorAll("[data-pair]")];
    const its = lines.filter((each) => each.getAttribute("data-pair").split(",").map(Number).includes(marked));
    for (const each of lines) {
      each.classList.toggle("marked", its.includes(each));
      // A word without lines leaves all of them as they are.
      each.classList.toggle("aside", its.length > 0 && !its.includes(each));
    }
  }
}

whenMarked(markAll);

// Width of a container in the units that pictures are drawn in: pixels where letters have 16 of them.
export function unitsWide(container) {
  const letter = Number.parseFloat(getComputedStyle(document.documentElement).fontSize) / 16;
  return Math.max(container.clientWidth / letter, 240);
}

export function sized(picture, width, height) {
  picture.setAttribute("viewBox", `0 0 ${width.toFixed(1)} ${height.toFixed(1)}`);
  picture.style.width = `${width / 16}rem`;
  picture.style.maxWidth = "100%";
  return picture;
}

export function wordLines(place, word, measure, value) {
  return [shown(place.words[word]), `${measure} ${digits(value)}`];
}

// One run's picture with its name, what it says, its numbers and the ways to take it along.
export function panel({ entry, what, body, note, picture, rows, several }) {
  const title = `${what}, ${entry.run}, ${shown(entry.title)}`;
  const name = `safr-${what}-${entry.run}-${entry.place ? entry.file : "none"}`.toLowerCase();
  return element(
    "div",
    { class: "panel", "data-run": entry.number },
    several ? element("h3", {}, entry.run) : null,
    body,
    note ? element("p", { class: "note" }, note) : null,
    rows ? element("div", { class: "foot" }, tableOf(title, rows), saveMenu({ name, title, picture, rows })) : null,
  );
}

export function missing(entry, several, why) {
  return panel({ entry, what: "", body: element("p", { class: "none" }, why), several });
}
