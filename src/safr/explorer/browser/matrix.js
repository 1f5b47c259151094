// One value per pair of words in, a map of coloured cells out, red above zero and blue below.
// The cells are one picture of a pixel each, so that two hundred words are drawn as fast as ten.

import { drawn, element } from "./elements.js";
import { digits, shortened, shown } from "./numbers.js";
import { hideTip, missing, panel, showTip, sized, unitsWide } from "./pictures.js";
import { offDiagonal } from "./readings.js";
import { mark, pick, whenMarked } from "./state.js";

const SMALLEST_NAMED = 9; // units of a cell above which words fit beside it
const DASHED = 40; // words above which the dashes of negative cells would be a grey
const DASHED_FROM = 0.15;
const SCALE = 130;

export function drawMatrix(container, entries) {
  const several = entries.length > 1;
  const wide = unitsWide(container) / (several && innerWidth > 900 ? 2 : 1) - 24;
  container.replaceChildren(
    ...entries.map((entry) => {
      if (!entry.place) return missing(entry, several, entry.none);
      const { place } = entry;
      const picture = matrixPicture(place, wide);
      const left =
        place.count < place.words.length
          ? `Pairs are shown of the ${place.count} words with the highest capacity, of ${place.words.length}. `
          : "";
      return panel({
        entry,
        what: place.attention ? "Attention" : "Interference",
        several,
        body: picture,
        note:
          left +
          (place.attention
            ? "Rows pay attention to columns."
            : "The grey diagonal, each word with itself, is off the scale."),
        picture: () => picture,
        rows: () => [
          ["word", ...place.numbers.map((word) => place.words[word])],
          ...place.numbers.map((word, row) =>
            [place.words[word], ...place.matrix.slice(row * place.count, (row + 1) * place.count)].map(told),
          ),
        ],
      });
    }),
  );
}

function told(value) {
  return typeof value === "number" ? Number(value.toPrecision(4)) : value;
}

function matrixPicture(place, wide) {
  const { count, numbers } = place;
  const names = numbers.map((word) => shortened(place.words[word], 14));
  const room = Math.max(...names.map((name) => [...name].length)) * 6.6 + 10;
  const cell = Math.min((Math.min(wide, 640) - room) / count, 26);
  const named = cell >= SMALLEST_NAMED;
  const [left, top] = named ? [room, room] : [4, 4];
  const side = cell * count;
  const most = offDiagonal(place);
  const [width, height] = [Math.max(left + side + 4, SCALE + 90), top + side + 44];
  const cells = drawn("image", {
    x: left,
    y: top,
    width: side,
    height: side,
    href: coloured(place, most),
    preserveAspectRatio: "none",
  });
  const marks = [
    drawn("rect", { class: "cross", width: side, height: cell, x: left }),
    drawn("rect", { class: "cross", width: cell, height: side, y: top }),
  ];
  const size = Math.min(12, Math.max(cell * 0.8, 8));
  const texts = named
    ? names.flatMap((name, i) => [
        label(name, numbers[i], { x: left - 5, y: top + (i + 0.5) * cell, "text-anchor": "end" }, size),
        label(name, numbers[i], { transform: `translate(${left + (i + 0.5) * cell} ${top - 5}) rotate(-90)` }, size),
      ])
    : [];
  const kind = place.attention ? "Attention" : "Interference";
  const said = `${kind} between ${count} words; the largest has size ${digits(most)}`;
  const picture = drawn(
    "svg",
    { class: "matrix", role: "img", "aria-label": said },
    cells,
    drawn("path", { class: "dashes", d: dashes(place, most, left, top, cell) }),
    marks,
    drawn("rect", { class: "edge", x: left, y: top, width: side, height: side }),
    texts,
    scale(place, most, left, top + side + 12),
  );
  reactive(picture, place, { left, top, cell, marks });
  return sized(picture, width, height);
}

function label(name, word, place, size) {
  return drawn("text", { ...place, "data-word": word, "font-size": size, "dominant-baseline": "central" }, name);
}

function coloured(place, most) {
  const { count, matrix, attention } = place;
  const canvas = element("canvas", { width: count, height: count });
  const context = canvas.getContext("2d");
  const pixels = context.createImageData(count, count);
  const [positive, negative, none, middle] = ["--positive", "--negative", "--diagonal", "--cell"].map(components);
  for (let i = 0; i < count * count; i += 1) {
    const diagonal = !attention && Math.floor(i / count) === i % count;
    const share = diagonal || !Number.isFinite(matrix[i]) ? 0 : Math.min(Math.abs(matrix[i]) / (most || 1), 1);
    const end = matrix[i] < 0 ? negative : positive;
    const colour = diagonal ? none : middle.map((part, channel) => part + (end[channel] - part) * share);
    pixels.data.set([...colour, 255], 4 * i);
  }
  context.putImageData(pixels, 0, 0);
  return canvas.toDataURL();
}

// A colour variable's red, green and blue, whatever light the page is in.
function components(name) {
  const probe = element("span");
  probe.style.color = `var(${name})`;
  document.body.append(probe);
  const found = getComputedStyle(probe)
    .color.match(/[\d.]+/g)
    .slice(0, 3)
    .map(Number);
  probe.remove();
  return found;
}

function dashes(place, most, left, top, cell) {
  const { count, matrix } = place;
  if (count > DASHED) return "";
  let path = "";
  for (let i = 0; i < count; i += 1) {
    for (let j = 0; j < count; j += 1) {
      if (matrix[i * count + j] >= -DASHED_FROM * most || (i === j && !place.attention)) continue;
      const [x, y] = [left + (j + 0.28) * cell, top + (i + 0.5) * cell];
      path += `M${x.toFixed(1)} ${y.toFixed(1)}h${(0.44 * cell).toFixed(1)}`;
    }
  }
  return path;
}

function scale(place, most, left, top) {
  const steps = 41;
  const negative = place.matrix.some((value, number) => value < 0 && number % (place.count + 1));
  const lowest = negative ? -1 : 0; // the half below zero only where a value is there
  const share = (step) => lowest + ((1 - lowest) * step) / (steps - 1);
  const cells = Array.from({ length: steps }, (_, step) => {
    const made = drawn("rect", {
      class: share(step) < 0 ? "negative" : "positive",
      x: left + (step * SCALE) / steps,
      y: top,
      width: SCALE / steps + 0.4,
      height: 8,
    });
    made.setAttribute("fill-opacity", Math.abs(share(step)).toFixed(3));
    return made;
  });
  const number = (value, x, anchor) =>
    drawn("text", { x, y: top + 20, "text-anchor": anchor, "font-size": 11 }, digits(value));
  return drawn(
    "g",
    { class: "scale" },
    cells,
    number(lowest * most, left, "start"),
    negative ? number(0, left + SCALE / 2, "middle") : null,
    number(most, left + SCALE, "end"),
  );
}

function reactive(picture, place, { left, top, cell, marks }) {
  const at = (event) => {
    const point = new DOMPoint(event.clientX, event.clientY).matrixTransform(picture.getScreenCTM().inverse());
    const [column, row] = [Math.floor((point.x - left) / cell), Math.floor((point.y - top) / cell)];
    return row >= 0 && column >= 0 && row < place.count && column < place.count ? [row, column] : null;
  };
  picture.addEventListener("pointermove", (event) => {
    const found = at(event);
    if (!found) return leave();
    const [row, column] = found;
    const value = place.matrix[row * place.count + column];
    const [one, other] = [row, column].map((each) => shown(place.words[place.numbers[each]]));
    mark(place.numbers[row]);
    cross(row, column);
    return showTip(event, [
      place.attention ? `${one} → ${other}` : `${one} – ${other}`,
      `${place.attention ? "attention" : row === column ? "squared norm" : "interference"} ${digits(value)}`,
    ]);
  });
  picture.addEventListener("pointerleave", leave);
  picture.addEventListener("click", (event) => {
    const found = at(event);
    if (found) pick(place.numbers[found[0]]);
  });
  picture.addEventListener("marked", (event) => {
    const row = place.numbers.indexOf(event.detail);
    cross(row, row);
  });

  function leave() {
    mark(null);
    hideTip();
  }

  function cross(row, column) {
    marks[0].setAttribute("y", top + row * cell);
    marks[1].setAttribute("x", left + column * cell);
    for (const each of marks) each.classList.toggle("on", row >= 0);
  }
}

whenMarked((word) => {
  for (const picture of document.querySelectorAll("svg.matrix"))
    picture.dispatchEvent(new CustomEvent("marked", { detail: word }));
});
