// Capacity and interference of a text in, circles for words and lines for pairs out; circles can be dragged.

import { byId, drawn } from "./elements.js";
import { centres, distances, labelPlaces, pushedApart, strengths } from "./layout.js";
import { counted, digits, shortened, shown } from "./numbers.js";
import { hideTip, missing, panel, showTip, sized, standsFor, unitsWide } from "./pictures.js";
import { state } from "./state.js";

const MARGIN = 10;
const LARGER = 1.35; // than in the figure, whose letters are smaller too
const LABEL = 16;
const LETTER_WIDE = 7.6;
const LOWEST = 240;
const FULL_SIZE = 560; // units of width below which circles are smaller, so that words stay readable

export function drawGraph(container, entries, look) {
  const several = entries.length > 1;
  const wide = unitsWide(container) / (several && innerWidth > 900 ? 2 : 1) - 24;
  const lowest = [];
  container.replaceChildren(
    ...entries.map((entry) => {
      if (!entry.place) return missing(entry, several, entry.none);
      const graph = prepared(entry.place, look, wide);
      lowest.push(graph.threshold);
      const picture = graphPicture(graph);
      const shownPairs = `${counted(graph.lines.length, "line")} of ${graph.pairs.length.toLocaleString("en")} pairs`;
      const left =
        entry.place.words.length > graph.words.length
          ? ` The ${graph.words.length} words ${chosenBy(entry.place)}, of ${entry.place.words.length}.`
          : "";
      return panel({
        entry,
        what: "Allocation",
        several,
        body: picture,
        note: `${shownPairs}.${left}`,
        picture: () => picture,
        rows: () => [
          [
            "word",
            "other word",
            entry.place.attention ? "attention, mean of both directions" : "interference",
            "share of the strongest",
          ],
          ...graph.pairs.map(([i, j, share, value]) => [
            graph.name(i),
            graph.name(j),
            value,
            Number(share.toPrecision(4)),
          ]),
        ],
      });
    }),
  );
  const from = state.lines ?? Math.ceil(100 * Math.max(0, ...lowest));
  byId("lines").value = from;
  byId("lines-from").textContent =
    state.lines === null ? `the ${look.mostLines} strongest` : `from ${from} % of the strongest`;
}

function chosenBy(place) {
  return place.attention ? "that receive the most attention" : "with the highest capacity";
}

// Which words get circles, how strong each pair is, and which pairs get lines.
function prepared(place, look, wide) {
  const order = place.numbers
    .map((_, row) => row)
    .sort((one, other) => (place.sizes[place.numbers[other]] ?? 0) - (place.sizes[place.numbers[one]] ?? 0));
  const rows = order.slice(0, look.mostCircles).sort((one, other) => one - other);
  const count = rows.length;
  const matrix = new Float64Array(count * count);
  rows.forEach((row, i) =>
    rows.forEach((column, j) => {
      matrix[i * count + j] = place.matrix[row * place.count + column];
    }),
  );
  const strength = strengths(matrix, count);
  const pairs = [];
  for (let i = 0; i < count; i += 1) {
    for (let j = i + 1; j < count; j += 1) {
      const share = strength[i * count + j];
      if (share > 0) pairs.push([i, j, share, (matrix[i * count + j] + matrix[j * count + i]) / 2]);
    }
  }
  pairs.sort((one, other) => other[2] - one[2]);
  const threshold = pairs[Math.min(look.mostLines, pairs.length) - 1]?.[2] ?? 0;
  const lines =
    state.lines === null ? pairs.slice(0, look.mostLines) : pairs.filter(([, , share]) => 100 * share >= state.lines);
  const words = rows.map((row) => place.numbers[row]);
  const most = place.attention ? Math.max(...words.map((word) => place.sizes[word] ?? 0)) || 1 : 1;
  const size = Math.max(Math.min(wide / FULL_SIZE, 1), 0.5);
  const radii = words.map(
    (word) =>
      size *
      Math.max(
        LARGER * look.largestRadius * Math.sqrt(Math.max(place.sizes[word] ?? 0, 0) / most),
        2 * look.smallestRadius,
      ),
  );
  const found = centres(distances(strength, look.shortest), count);
  const name = (i) => place.words[words[i]];
  return {
    place,
    words,
    radii,
    pairs,
    lines,
    threshold,
    name,
    centres: pushedApart(fitted(found, wide), radii, size * look.gap),
    wide,
  };
}

function fitted(found, wide) {
  const span = (axis) =>
    Math.max(...found.map((each) => each[axis])) - Math.min(...found.map((each) => each[axis])) || 1e-9;
  const side = Math.min(150 + 70 * Math.sqrt(found.length), wide - 110);
  const scale = found.length > 1 ? side / Math.max(span(0), 1.45 * span(1)) : 0;
  return found.map(([x, y]) => [x * scale, y * scale]);
}

function graphPicture(graph) {
  const { place } = graph;
  const lines = graph.lines.map((pair) => line(graph, pair)).reverse(); // the strongest on top
  const circles = graph.words.map((word, i) => drawn("circle", { class: "circle", r: graph.radii[i] }));
  const labels = graph.words.map((word) =>
    drawn(
      "text",
      { class: "label", "text-anchor": "middle", "dominant-baseline": "central" },
      shortened(place.words[word]),
    ),
  );
  const groups = graph.words.map((word, i) =>
    standsFor(drawn("g", { class: "node" }, circles[i], labels[i]), word, () => [
      shown(place.words[word]),
      `${place.attention ? "attention received" : "capacity"} ${digits(place.sizes[word])}`,
    ]),
  );
  const strongest = graph.pairs[0];
  const said =
    `Graph of ${counted(graph.words.length, "word")} and ${counted(graph.lines.length, "line")}` +
    (strongest
      ? `; the strongest joins ${shown(graph.name(strongest[0]))} and ${shown(graph.name(strongest[1]))}`
      : "");
  const picture = drawn("svg", { class: "graph", role: "img", "aria-label": said }, lines, groups);
  put();
  const box = frame(graph);
  const [width, height] = [Math.max(box[2] - box[0], Math.min(graph.wide, 300)), Math.max(box[3] - box[1], LOWEST)];
  sized(picture, width, height);
  const [left, top] = [(box[0] + box[2] - width) / 2, (box[1] + box[3] - height) / 2];
  picture.setAttribute("viewBox", `${left.toFixed(1)} ${top.toFixed(1)} ${width.toFixed(1)} ${height.toFixed(1)}`);
  groups.forEach((group, i) =>
    draggable(group, picture, (x, y) => {
      graph.centres[i] = [Math.min(Math.max(x, left), left + width), Math.min(Math.max(y, top), top + height)];
      put();
    }),
  );
  return picture;

  function put() {
    graph.labels = labelPlaces(
      graph.centres,
      graph.radii,
      graph.words.map((word) => LETTER_WIDE * [...shortened(place.words[word])].length),
      LABEL,
    );
    graph.words.forEach((_, i) => {
      set(circles[i], { cx: graph.centres[i][0], cy: graph.centres[i][1] });
      set(labels[i], { x: graph.labels[i][0], y: graph.labels[i][1] });
    });
    [...graph.lines].reverse().forEach(([i, j], number) =>
      set(lines[number], {
        x1: graph.centres[i][0],
        y1: graph.centres[i][1],
        x2: graph.centres[j][0],
        y2: graph.centres[j][1],
      }),
    );
  }
}

function line(graph, [i, j, share, value]) {
  const made = drawn("line", {
    class: value < 0 ? "negative" : "positive",
    "stroke-width": (0.8 + 2.8 * share).toFixed(2),
    "data-pair": `${graph.words[i]},${graph.words[j]}`,
  });
  made.addEventListener("pointermove", (event) =>
    showTip(event, [
      `${shown(graph.name(i))} – ${shown(graph.name(j))}`,
      `${graph.place.attention ? "attention" : "interference"} ${digits(value)}`,
      `${Math.round(100 * share)} % of the strongest`,
    ]),
  );
  made.addEventListener("pointerleave", hideTip);
  return made;
}

function draggable(group, picture, move) {
  let from = null;
  group.addEventListener("pointerdown", (event) => {
    from = [event.clientX, event.clientY];
    group.setPointerCapture(event.pointerId);
  });
  group.addEventListener("pointermove", (event) => {
    if (!from || Math.hypot(event.clientX - from[0], event.clientY - from[1]) < 4) return;
    group.classList.add("dragged");
    const at = new DOMPoint(event.clientX, event.clientY).matrixTransform(picture.getScreenCTM().inverse());
    hideTip();
    move(at.x, at.y);
  });
  group.addEventListener("pointerup", () => {
    from = null;
  });
  group.addEventListener("pointercancel", () => {
    from = null;
  });
  // A drag ends with a click, which picks no word.
  group.addEventListener(
    "click",
    (event) => {
      if (group.classList.contains("dragged")) event.stopImmediatePropagation();
      group.classList.remove("dragged");
    },
    { capture: true },
  );
}

function frame({ centres: found, radii, labels, words, place }) {
  const box = [Infinity, Infinity, -Infinity, -Infinity];
  found.forEach(([x, y], i) => {
    const half = (LETTER_WIDE * [...shortened(place.words[words[i]])].length) / 2;
    box[0] = Math.min(box[0], x - radii[i], labels[i][0] - half);
    box[1] = Math.min(box[1], y - radii[i], labels[i][1] - LABEL / 2);
    box[2] = Math.max(box[2], x + radii[i], labels[i][0] + half);
    box[3] = Math.max(box[3], y + radii[i], labels[i][1] + LABEL / 2);
  });
  return [box[0] - MARGIN, box[1] - MARGIN, box[2] + MARGIN, box[3] + MARGIN];
}

function set(made, attributes) {
  for (const [name, value] of Object.entries(attributes))
    made.setAttribute(name, typeof value === "number" ? value.toFixed(1) : value);
}

export function graphKey(attention) {
  const swatch = (kind) => {
    const mark = drawn(
      "svg",
      { class: "swatch", viewBox: "0 0 28 8", "aria-hidden": "true" },
      drawn("line", { class: kind, x1: 1, x2: 27, y1: 4, y2: 4, "stroke-width": 2.5 }),
    );
    return mark;
  };
  return attention
    ? [
        "Circle area is the attention received, relative to the most; a line is the mean attention of two words to ",
        "each other. Drag circles to arrange them.",
      ]
    : [
        "Circle area is capacity. Lines: ",
        swatch("positive"),
        " positive and ",
        swatch("negative"),
        " negative interference, shorter and thicker where it is stronger. Drag circles to arrange them.",
      ];
}
