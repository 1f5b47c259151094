// Lines of numbers in, a chart with axes out.

import { drawn } from "./elements.js";
import { shortened } from "./numbers.js";
import { sized } from "./pictures.js";

const [LEFT, RIGHT, BOTTOM] = [50, 14, 40];
const LETTER = 6.8; // units that a letter of the key takes at most
const SWATCH = 22;
const KEY_LINE = 18;
const MOST_MARKED = 25; // points of a line; more marks would hide it

// For whoever can't tell the runs' colours apart; the same as in the figures.
const MARKS = [
  "m-3.5 0a3.5 3.5 0 1 0 7 0a3.5 3.5 0 1 0 -7 0z",
  "m-3 -3h6v6h-6z",
  "m0 -4l4 7h-8z",
  "m0 -4.5l4.5 4.5l-4.5 4.5l-4.5 -4.5z",
  "m0 4l-4 -7h8z",
  "m-1.3 -4h2.6v2.7h2.7v2.6h-2.7v2.7h-2.6v-2.7h-2.7v-2.6h2.7z",
  "m0 -1.6l2.4 -2.4l1.6 1.6l-2.4 2.4l2.4 2.4l-1.6 1.6l-2.4 -2.4l-2.4 2.4l-1.6 -1.6l2.4 -2.4l-2.4 -2.4l1.6 -1.6z",
];

// `lines` hold x, y and perhaps low and high, a look, a mark's number, and a name for the key; `across` and `up` name
// the axes; `written` shows a value of the y axis.
export function chart({ lines, width, height, said, across, up, written, from = null, to = null, at = null }) {
  const names = keyPlaces(
    lines.filter((line) => line.key),
    width,
    LEFT + LETTER * up.length + 20,
  );
  const top = Math.max(12, ...names.map((each) => each.y)) + 14;
  const xs = lines.flatMap((line) => line.x);
  const ys = lines.flatMap((line) => [...line.y, ...(line.low ?? []), ...(line.high ?? [])]).filter(Number.isFinite);
  const [first, last] = [Math.min(...xs), Math.max(...xs)];
  const [low, high] = [from ?? Math.min(...ys), to ?? Math.max(...ys)];
  const x = (value) => LEFT + ((value - first) / (last - first || 1)) * (width - LEFT - RIGHT);
  const y = (value) => height - BOTTOM - ((value - low) / (high - low || 1)) * (height - top - BOTTOM);
  const grid = ticks(low, high).flatMap((value) => [
    drawn("line", { class: "gridline", x1: LEFT, x2: width - RIGHT, y1: y(value), y2: y(value) }),
    drawn(
      "text",
      { class: "tick", x: LEFT - 6, y: y(value), "text-anchor": "end", "dominant-baseline": "central" },
      written(value),
    ),
  ]);
  const below = ticks(first, last)
    .filter((value) => last - first < 2 || Number.isInteger(value))
    .map((value) =>
      drawn("text", { class: "tick", x: x(value), y: height - BOTTOM + 15, "text-anchor": "middle" }, String(value)),
    );
  const picture = drawn(
    "svg",
    { class: "chart", role: "img", "aria-label": said },
    grid,
    below,
    drawn("text", { class: "tick", x: (LEFT + width - RIGHT) / 2, y: height - 6, "text-anchor": "middle" }, across),
    drawn("text", { class: "tick", x: LEFT, y: 12 }, up),
    key(),
    at === null ? null : drawn("line", { class: "at", x1: x(at), x2: x(at), y1: top, y2: height - BOTTOM }),
    lines.filter((line) => line.low).map((line) => drawn("path", { class: `band ${line.look}`, d: band(line) })),
    lines.map((line) => drawn("path", { class: `curve ${line.look}`, d: path(line.x, line.y) })),
    lines
      .filter((line) => line.x.length <= MOST_MARKED)
      .flatMap((line) => line.x.map((value, place) => mark(line, x(value), y(line.y[place])))),
    at === null
      ? null
      : lines
          .filter((line) => line.x.includes(at))
          .map((line) =>
            drawn("circle", { class: `dot ${line.look}`, cx: x(at), cy: y(line.y[line.x.indexOf(at)]), r: 4 }),
          ),
  );
  return sized(picture, width, height);

  function key() {
    return names.map(({ line, name, x: start, y: height_ }) =>
      drawn(
        "g",
        { class: "key" },
        drawn("line", { class: `curve ${line.look}`, x1: start, x2: start + SWATCH, y1: height_ - 4, y2: height_ - 4 }),
        mark(line, start + SWATCH / 2, height_ - 4),
        drawn("text", { class: "tick", x: start + SWATCH + 6, y: height_ }, name),
      ),
    );
  }

  function mark(line, right, down) {
    if (line.mark === undefined || !Number.isFinite(down)) return null;
    const shape = MARKS[line.mark % MARKS.length];
    return drawn("path", { class: `mark ${line.look}`, d: `M${right.toFixed(1)} ${down.toFixed(1)}${shape}` });
  }

  function path(across_, up) {
    return across_
      .map((value, place) =>
        Number.isFinite(up[place]) ? `${place ? "L" : "M"}${x(value).toFixed(1)} ${y(up[place]).toFixed(1)}` : "",
      )
      .join("");
  }

  function band(line) {
    const back = line.x
      .map((value, place) => `L${x(value).toFixed(1)} ${y(line.high[place]).toFixed(1)}`)
      .reverse()
      .join("");
    return `${path(line.x, line.low)}${back}Z`;
  }
}

// Where each name of the key stands: beside the y axis's name if all have room there, else in lines of their own.
function keyPlaces(lines, width, afterName) {
  const named = lines.map((line) => ({ line, name: shortened(line.key, 24) }));
  const sizes = named.map(({ name }) => SWATCH + 6 + LETTER * [...name].length + 14);
  const whole = sizes.reduce((sum, size) => sum + size, 0);
  const beside = afterName + whole <= width - RIGHT;
  let [x, y] = beside ? [width - RIGHT - whole, 12] : [LEFT, 12 + KEY_LINE];
  return named.map((each, place) => {
    if (!beside && x > LEFT && x + sizes[place] > width - RIGHT) [x, y] = [LEFT, y + KEY_LINE];
    const found = { ...each, x, y };
    x += sizes[place];
    return found;
  });
}

// About five round numbers between two values.
export function ticks(low, high) {
  const rough = (high - low) / 4 || 1;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((each) => each * power).find((each) => each >= rough * 0.8);
  const first = Math.ceil(low / step - 1e-9);
  const count = Math.floor(high / step + 1e-9) - first + 1;
  return Array.from({ length: Math.max(count, 0) }, (_, place) => Number(((first + place) * step).toPrecision(6)));
}
