// Places the circles and labels of the allocation graph inside its picture. Python says where the circles want to be.

const MAX_PUSHES = 200;
const MAX_STRETCH = 1.4; // of one direction, so that a layout fills its picture; lengths are approximate anyway
const LABEL_GAPS = [2, 8, 16, 26, 38, 52, 70, 92, 118, 150, 190, 240]; // between a circle and its label
const LABEL_ANGLES = [0, 8, 4, 12, 2, 6, 10, 14, 1, 3, 5, 7, 9, 11, 13, 15].map((turn) => (turn * Math.PI) / 8);
const FAR_COST = 8; // of a unit between circle and label, in square units of a circle that the label hides
export const LEADER_GAP = 16; // from here on a label needs a line to its circle

// Reads two bytes for every circle, x and y. Without them, the circles stand around a circle.
export function unpackLayout(packed, count) {
  if (!packed) return Array.from({ length: count }, (_, i) => turn((2 * Math.PI * i) / count, 0.5, 0.5));
  const bytes = Uint8Array.from(atob(packed), (letter) => letter.charCodeAt(0));
  return Array.from({ length: count }, (_, i) => [bytes[2 * i] / 255, bytes[2 * i + 1] / 255]);
}

// Fits points into a box around 0. Both directions have one scale, but for a limited stretch of the shorter one.
export function fitToBox(points, width, height) {
  const [spanX, spanY] = [0, 1].map((axis) => measureSpan(points, axis));
  const scale = Math.min(width / spanX, height / spanY);
  const middle = [0, 1].map((axis) => findMiddle(points, axis));
  const scales = [Math.min(width / spanX, MAX_STRETCH * scale), Math.min(height / spanY, MAX_STRETCH * scale)];
  // Points on one spot or line have no span, and stay in the middle.
  return points.map((point) =>
    point.map((value, axis) => (Number.isFinite(scales[axis]) ? (value - middle[axis]) * scales[axis] : 0)),
  );
}

// Pushes circles that overlap apart, as little as possible, and keeps them between `left` and `right`.
export function pushApart(points, radii, gap, left, right) {
  const pushed = points.map((point) => [...point]);
  for (let push = 0; push < MAX_PUSHES; push += 1) {
    let largest = 0;
    for (let i = 0; i < pushed.length; i += 1) {
      for (let j = 0; j < i; j += 1) {
        const [dx, dy] = [pushed[i][0] - pushed[j][0], pushed[i][1] - pushed[j][1]];
        const length = Math.hypot(dx, dy);
        const lacking = radii[i] + radii[j] + gap - length;
        if (lacking <= 0) continue;
        largest = Math.max(largest, lacking);
        const [ux, uy] = length > 1e-6 ? [dx / length, dy / length] : [0.8, 0.6];
        pushed[i] = [pushed[i][0] + (ux * lacking) / 2, pushed[i][1] + (uy * lacking) / 2];
        pushed[j] = [pushed[j][0] - (ux * lacking) / 2, pushed[j][1] - (uy * lacking) / 2];
      }
    }
    pushed.forEach((point, i) => {
      point[0] = Math.min(Math.max(point[0], left + radii[i]), right - radii[i]);
    });
    if (largest < 0.1) break;
  }
  return pushed;
}

// The label of every circle: its centre `x` and `y`, and the `gap` to its circle. A label stands inside its circle if
// it fits, and else beside it, where it hides least of other circles. It never overlaps another label as long as there
// is room for it between the edges of `bounds`: left, top, right and bottom.
export function placeLabels(points, radii, widths, height, bounds) {
  const circles = points.map(([x, y], i) => makeBox(x, y, 2 * radii[i], 2 * radii[i]));
  const labels = [];
  const boxes = [];
  const largestFirst = radii.map((_, i) => i).sort((i, j) => radii[j] - radii[i]);
  for (const i of largestFirst) {
    const isInside = Math.hypot(widths[i], height) <= 2 * radii[i];
    labels[i] = isInside ? { x: points[i][0], y: points[i][1], gap: 0 } : findFreePlace(i);
    boxes.push(makeBox(labels[i].x, labels[i].y, widths[i], height));
  }
  return labels;

  function findFreePlace(i) {
    let best = null;
    for (const gap of LABEL_GAPS) {
      if (best && best.cost <= FAR_COST * gap) break;
      for (const angle of LABEL_ANGLES) {
        const [x, y] = findPlaceBeside(points[i], radii[i] + gap, angle, widths[i], height);
        const box = makeBox(x, y, widths[i], height);
        const cost =
          FAR_COST * gap +
          1e3 * sumOverlaps(box, boxes) +
          sumOverlaps(box, circles) +
          1e6 * measureExcess(box, bounds);
        if (!best || cost < best.cost) best = { x, y, gap, cost };
      }
    }
    return best;
  }
}

// The centre of a box that touches a circle at the angle.
function findPlaceBeside([x, y], radius, angle, width, height) {
  const [cosine, sine] = [Math.cos(angle), Math.sin(angle)];
  const limit = (share) => Math.min(Math.max(Math.SQRT2 * share, -1), 1);
  return [x + radius * cosine + (limit(cosine) * width) / 2, y + radius * sine + (limit(sine) * height) / 2];
}

function turn(angle, radius, middle) {
  return [middle - radius * Math.cos(angle), middle - radius * Math.sin(angle)];
}

function measureSpan(points, axis) {
  const values = points.map((point) => point[axis]);
  return Math.max(...values) - Math.min(...values);
}

function findMiddle(points, axis) {
  const values = points.map((point) => point[axis]);
  return (Math.max(...values) + Math.min(...values)) / 2;
}

function makeBox(x, y, width, height) {
  return [x - width / 2, y - height / 2, x + width / 2, y + height / 2];
}

function sumOverlaps(box, others) {
  let sum = 0;
  for (const other of others) {
    const width = Math.min(box[2], other[2]) - Math.max(box[0], other[0]);
    const height = Math.min(box[3], other[3]) - Math.max(box[1], other[1]);
    if (width > 0 && height > 0) sum += width * height;
  }
  return sum;
}

// How far a box reaches over the edges.
function measureExcess(box, [left, top, right, bottom]) {
  const over = [left - box[0], top - box[1], box[2] - right, box[3] - bottom];
  return over.reduce((sum, length) => sum + Math.max(length, 0), 0);
}
