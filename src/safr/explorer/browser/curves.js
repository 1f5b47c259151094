// Draws a chart with lines, axes and a legend.

import { svgElement } from "./elements.js";
import { shorten } from "./numbers.js";
import { setSize } from "./pictures.js";

const [LEFT, RIGHT, BOTTOM] = [50, 14, 40]; // margins
const LETTER_WIDTH = 6.8; // largest width of a letter in the legend
const SWATCH_WIDTH = 22;
const LEGEND_LINE = 18;
const MAX_MARKED_POINTS = 25; // marks at more points would hide the line

// Marks are for people who can't tell the colours of the runs apart. They are the same as in the figures.
export const MARKS = [
  "m-3.5 0a3.5 3.5 0 1 0 7 0a3.5 3.5 0 1 0 -7 0z",
  "m-3 -3h6v6h-6z",
  "m0 -4l4 7h-8z",
  "m0 -4.5l4.5 4.5l-4.5 4.5l-4.5 -4.5z",
  "m0 4l-4 -7h8z",
  "m-1.3 -4h2.6v2.7h2.7v2.6h-2.7v2.7h-2.6v-2.7h-2.7v-2.6h2.7z",
  "m0 -1.6l2.4 -2.4l1.6 1.6l-2.4 2.4l2.4 2.4l-1.6 1.6l-2.4 -2.4l-2.4 2.4l-1.6 -1.6l2.4 -2.4l-2.4 -2.4l1.6 -1.6z",
];

// A line has `x`, `y`, a `cssClass`, and perhaps `low` and `high` of a band, the number of a `mark`, and a `legend`.
// `formatY` formats the numbers at the y axis. A vertical line and dots stand at `markedX`.
export function drawChart({
  lines,
  width,
  height,
  description,
  xTitle,
  yTitle,
  formatY,
  yMin = null,
  yMax = null,
  markedX = null,
}) {
  const legend = placeLegend(
    lines.filter((line) => line.legend),
    width,
    LEFT + LETTER_WIDTH * yTitle.length + 20,
  );
  const top = Math.max(12, ...legend.map((entry) => entry.y)) + 14;
  const xs = lines.flatMap((line) => line.x);
  const ys = lines.flatMap((line) => [...line.y, ...(line.low ?? []), ...(line.high ?? [])]).filter(Number.isFinite);
  const [first, last] = [Math.min(...xs), Math.max(...xs)];
  const [low, high] = [yMin ?? Math.min(...ys), yMax ?? Math.max(...ys)];
  const scaleX = (value) => LEFT + ((value - first) / (last - first || 1)) * (width - LEFT - RIGHT);
  const scaleY = (value) => height - BOTTOM - ((value - low) / (high - low || 1)) * (height - top - BOTTOM);
  const yTicks = chooseTicks(low, high).flatMap((value) => [
    svgElement("line", { class: "gridline", x1: LEFT, x2: width - RIGHT, y1: scaleY(value), y2: scaleY(value) }),
    svgElement(
      "text",
      { class: "tick", x: LEFT - 6, y: scaleY(value), "text-anchor": "end", "dominant-baseline": "central" },
      formatY(value),
    ),
  ]);
  const xTicks = chooseTicks(first, last)
    .filter((value) => last - first < 2 || Number.isInteger(value))
    .map((value) =>
      svgElement(
        "text",
        { class: "tick", x: scaleX(value), y: height - BOTTOM + 15, "text-anchor": "middle" },
        String(value),
      ),
    );
  const picture = svgElement(
    "svg",
    { class: "chart", role: "img", "aria-label": description },
    yTicks,
    xTicks,
    svgElement(
      "text",
      { class: "tick", x: (LEFT + width - RIGHT) / 2, y: height - 6, "text-anchor": "middle" },
      xTitle,
    ),
    svgElement("text", { class: "tick", x: LEFT, y: 12 }, yTitle),
    legend.map(drawLegendEntry),
    markedX === null
      ? null
      : svgElement("line", { class: "at", x1: scaleX(markedX), x2: scaleX(markedX), y1: top, y2: height - BOTTOM }),
    lines
      .filter((line) => line.low)
      .map((line) => svgElement("path", { class: `band ${line.cssClass}`, d: makeBandPath(line) })),
    lines.map((line) => svgElement("path", { class: `curve ${line.cssClass}`, d: makePath(line.x, line.y) })),
    lines
      .filter((line) => line.x.length <= MAX_MARKED_POINTS)
      .flatMap((line) => line.x.map((value, index) => drawMark(line, scaleX(value), scaleY(line.y[index])))),
    markedX === null ? null : lines.filter((line) => line.x.includes(markedX)).map(drawDot),
  );
  return setSize(picture, width, height);

  function drawLegendEntry({ line, name, x, y }) {
    return svgElement(
      "g",
      { class: "key" },
      svgElement("line", { class: `curve ${line.cssClass}`, x1: x, x2: x + SWATCH_WIDTH, y1: y - 4, y2: y - 4 }),
      drawMark(line, x + SWATCH_WIDTH / 2, y - 4),
      svgElement("text", { class: "tick", x: x + SWATCH_WIDTH + 6, y }, name),
    );
  }

  function drawMark(line, x, y) {
    if (line.mark === undefined || !Number.isFinite(y)) return null;
    const shape = MARKS[line.mark % MARKS.length];
    return svgElement("path", { class: `mark ${line.cssClass}`, d: `M${x.toFixed(1)} ${y.toFixed(1)}${shape}` });
  }

  function drawDot(line) {
    const y = line.y[line.x.indexOf(markedX)];
    return svgElement("circle", { class: `dot ${line.cssClass}`, cx: scaleX(markedX), cy: scaleY(y), r: 4 });
  }

  function makePath(x, y) {
    return x
      .map((value, index) =>
        Number.isFinite(y[index])
          ? `${index ? "L" : "M"}${scaleX(value).toFixed(1)} ${scaleY(y[index]).toFixed(1)}`
          : "",
      )
      .join("");
  }

  function makeBandPath(line) {
    const highEdge = line.x
      .map((value, index) => `L${scaleX(value).toFixed(1)} ${scaleY(line.high[index]).toFixed(1)}`)
      .reverse()
      .join("");
    return `${makePath(line.x, line.low)}${highEdge}Z`;
  }
}

// About five round numbers between two values.
export function chooseTicks(low, high) {
  const roughStep = (high - low) / 4 || 1;
  const power = 10 ** Math.floor(Math.log10(roughStep));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((candidate) => candidate >= roughStep * 0.8);
  const first = Math.ceil(low / step - 1e-9);
  const count = Math.floor(high / step + 1e-9) - first + 1;
  return Array.from({ length: Math.max(count, 0) }, (_, index) => Number(((first + index) * step).toPrecision(6)));
}

// Places the entries of the legend: beside the title of the y axis if all fit there, and else in lines below it.
function placeLegend(lines, width, titleEnd) {
  const names = lines.map((line) => shorten(line.legend, 24));
  const sizes = names.map((name) => SWATCH_WIDTH + 6 + LETTER_WIDTH * [...name].length + 14);
  const totalSize = sizes.reduce((sum, size) => sum + size, 0);
  const fitsBesideTitle = titleEnd + totalSize <= width - RIGHT;
  let [x, y] = fitsBesideTitle ? [width - RIGHT - totalSize, 12] : [LEFT, 12 + LEGEND_LINE];
  return lines.map((line, index) => {
    if (!fitsBesideTitle && x > LEFT && x + sizes[index] > width - RIGHT) [x, y] = [LEFT, y + LEGEND_LINE];
    const entry = { line, name: names[index], x, y };
    x += sizes[index];
    return entry;
  });
}
