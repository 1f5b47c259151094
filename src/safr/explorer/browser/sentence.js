// A reading in, its words shaded by a measure out, with what the model predicts and what the marked word does.

import { byId, element } from "./elements.js";
import { digits, percent, shown } from "./numbers.js";
import { panel, standsFor } from "./pictures.js";
import { whenMarked } from "./state.js";

const NEIGHBOURS = 3;

let told = [];

export function drawSentence(container, entries, measure, label) {
  told = { entries, measure };
  container.replaceChildren(
    ...entries.map((entry) =>
      panel({
        entry,
        what: "Words",
        several: entries.length > 1,
        body: element("div", {}, predicted(entry.reading, label), shadedWords(entry)),
        note: entry.reading.truncated ? `Only the first ${entry.reading.words.length} words were read.` : null,
        rows: () => wordRows(entry, measure),
      }),
    ),
  );
}

export function predicted({ prediction, probabilities }, label) {
  const others = Object.entries(probabilities).filter(([name]) => name !== prediction);
  return element(
    "p",
    { class: "predicted" },
    "predicted ",
    element("b", {}, shown(prediction)),
    ` ${percent(probabilities[prediction], 1)}`,
    label === null
      ? null
      : element(
          "span",
          { class: label === prediction ? "right" : "wrong" },
          label === prediction ? " ✓ right" : ` ✗ the label is ${shown(label)}`,
        ),
    element(
      "span",
      { class: "faint" },
      others.map(([name, share]) => ` · ${shown(name)} ${percent(share, 1)}`).join(""),
    ),
  );
}

// Lines of words, one for each text of a pair; the arrow keys go from word to word.
export function wordLines(words, textOfWord, make) {
  const lines = [];
  words.forEach((word, number) => {
    const line = (lines[textOfWord[number]] ??= element("div", { class: "words", dir: "auto" }));
    line.append(make(word, number), " ");
  });
  const holder = element("div", { class: "lines" }, lines.filter(Boolean));
  const buttons = [...holder.querySelectorAll("button")];
  buttons.forEach((each, place) => {
    each.tabIndex = place ? -1 : 0;
  });
  holder.addEventListener("keydown", (event) => {
    const backwards = getComputedStyle(event.target).direction === "rtl" ? -1 : 1;
    const step = { ArrowRight: backwards, ArrowLeft: -backwards, Home: -Infinity, End: Infinity }[event.key];
    const place = buttons.indexOf(event.target);
    if (step === undefined || place < 0) return;
    event.preventDefault();
    const next = buttons[Math.min(Math.max(place + step, 0), buttons.length - 1)];
    for (const each of buttons) each.tabIndex = each === next ? 0 : -1;
    next.focus();
  });
  return holder;
}

function shadedWords(entry) {
  const values = entry.place?.values ?? null;
  const highest = values ? Math.max(...values.map((value) => value ?? 0), 0) : 0;
  return wordLines(entry.reading.words, entry.reading.text_of_word, (word, number) => {
    const share = highest > 0 ? Math.max(values[number] ?? 0, 0) / highest : 0;
    const button = element("button", { type: "button", class: "word" }, element("bdi", {}, shown(word)));
    button.style.setProperty("--share", share.toFixed(3));
    button.addEventListener("focus", () => button.dispatchEvent(new PointerEvent("pointerenter")));
    button.addEventListener("blur", () => button.dispatchEvent(new PointerEvent("pointerleave")));
    return standsFor(button, number, null);
  });
}

function wordRows(entry, measure) {
  const { reading, place, whatIf } = entry;
  const sites = Object.entries(reading.sites);
  const others = Object.entries(reading.other);
  const head = [
    "word",
    ...(reading.keep ? ["keep probability"] : []),
    ...(whatIf?.alone ? ["probability without it"] : []),
  ];
  for (const [name] of sites) head.push(`capacity ${name}`, `polysemanticity ${name}`);
  if (place?.attention) head.push(`${measure} layer ${place.layer}`);
  head.push(...others.map(([name]) => name));
  return [
    head,
    ...reading.words.map((word, number) => [
      word,
      ...(reading.keep ? [reading.keep[number]] : []),
      ...(whatIf?.alone ? [whatIf.alone[number]] : []),
      ...sites.flatMap(([, site]) => [site.capacity[number], site.polysemanticity[number]]),
      ...(place?.attention ? [place.values?.[number]] : []),
      ...others.map(([, values]) => values[number]),
    ]),
  ];
}

whenMarked((word) => {
  const line = byId("marked");
  if (word === null || !told.entries) {
    line.textContent = "Point at a word to see it in every picture; click it to keep it marked.";
    return;
  }
  const parts = told.entries
    .filter(({ place }) => place && word < place.words.length)
    .map(({ run, place }) => {
      const name = told.entries.length > 1 ? `${run}: ` : "";
      return `${name}${told.measure.toLowerCase()} ${digits(place.values?.[word])}${neighbours(place, word)}`;
    });
  const first = told.entries.find(({ reading }) => word < reading.words.length);
  line.replaceChildren(
    ...(first
      ? [
          element("b", {}, element("bdi", {}, shown(first.reading.words[word]))),
          ` ${parts.join(" · ") || "nothing at this site"}`,
        ]
      : []),
  );
});

function neighbours(place, word) {
  const row = place.numbers.indexOf(word);
  if (row < 0 || place.count < 2) return "";
  const found = place.numbers
    .map((other, column) => [other, place.matrix[row * place.count + column]])
    .filter(([other, value]) => other !== word && value)
    .sort((one, other) => Math.abs(other[1]) - Math.abs(one[1]));
  if (!found.length) return "";
  const named = found.slice(0, NEIGHBOURS).map(([other, value]) => `“${shown(place.words[other])}” ${digits(value)}`);
  return `, ${place.attention ? "attends most to" : "interferes most with"} ${named.join(", ")}`;
}
