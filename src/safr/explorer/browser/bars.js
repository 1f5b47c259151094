// One value per word in, a bar for each out, in the order of the text; runs beside each other share their scale.

import { drawn, element } from "./elements.js";
import { digits, shortened } from "./numbers.js";
import { missing, panel, sized, standsFor, unitsWide, wordLines as tipLines } from "./pictures.js";

const ROW = 20;
const LETTER = 7.2; // width of a letter of 13 units, on average
const NUMBER = 58;

export function drawBars(container, entries, measure) {
  const finite = entries.flatMap(({ place }) => (place?.values ?? []).filter((value) => value !== null));
  const ends = [Math.min(0, ...finite), Math.max(0, ...finite)];
  container.replaceChildren(
    ...entries.map((entry) => {
      const several = entries.length > 1;
      if (!entry.place?.values) return missing(entry, several, `${measure} is not there in this run.`);
      const picture = barPicture(
        entry.place,
        measure,
        ends,
        unitsWide(container) / (several && innerWidth > 900 ? 2 : 1) - 24,
      );
      return panel({
        entry,
        what: measure,
        several,
        body: element(
          "div",
          {
            class: "scroll tall",
            tabindex: "0",
            role: "region",
            "aria-label": `${measure} of each word, ${entry.run}`,
          },
          picture,
        ),
        picture: () => picture,
        rows: () => [["word", measure], ...entry.place.words.map((word, number) => [word, entry.place.values[number]])],
      });
    }),
  );
}

function barPicture(place, measure, [low, high], width) {
  const names = place.words.map((word) => shortened(word));
  const left = Math.min(Math.max(...names.map((name) => [...name].length)) * LETTER + 10, width / 2.5);
  const long = width - left - NUMBER;
  const across = (value) => left + long * ((value - low) / (high - low || 1));
  const rows = names.map((name, number) => {
    const value = place.values[number];
    const top = number * ROW;
    const [from, to] = [across(0), across(value ?? 0)];
    const group = drawn(
      "g",
      { class: "word-row" },
      drawn("rect", { class: "strip", x: 0, y: top, width, height: ROW }),
      drawn("text", { x: left - 8, y: top + ROW / 2, "text-anchor": "end", "dominant-baseline": "central" }, name),
      drawn("rect", {
        class: value < 0 ? "bar below" : "bar",
        x: Math.min(from, to),
        y: top + 3,
        width: Math.abs(to - from),
        height: ROW - 6,
      }),
      drawn(
        "text",
        { class: "value", x: Math.max(from, to) + 5, y: top + ROW / 2, "dominant-baseline": "central" },
        digits(value),
      ),
    );
    return standsFor(group, number, () => tipLines(place, number, measure.toLowerCase(), value));
  });
  const highest = names[place.values.indexOf(Math.max(...place.values.map((value) => value ?? -Infinity)))];
  const said = `${measure} of ${names.length} words; the highest is ${highest ?? "none"}`;
  const picture = drawn(
    "svg",
    { class: "bars", role: "img", "aria-label": said },
    rows,
    drawn("line", { class: "axis", x1: across(0), x2: across(0), y1: 0, y2: names.length * ROW }),
  );
  return sized(picture, width, names.length * ROW);
}
