// Places circles and labels of the allocation graph, from the strength of interference and the sizes of the circles.
// The distances, and the stress that is minimised, are the same as in the figures of the Python package.

const MAX_ROUNDS = 400;
const MAX_PUSHES = 200;

// Absolute value of a pair relative to the strongest pair, in [0, 1]. Of attention, the mean of both directions counts.
export function strengths(matrix, count) {
  const sizes = new Float64Array(count * count);
  let largest = 0;
  for (let i = 0; i < count; i += 1) {
    for (let j = 0; j < count; j += 1) {
      if (i === j) continue;
      const size = Math.abs(matrix[i * count + j] + matrix[j * count + i]) / 2;
      sizes[i * count + j] = Number.isFinite(size) ? size : 0;
      largest = Math.max(largest, sizes[i * count + j]);
    }
  }
  return sizes.map((size) => size / (largest || 1));
}

export function distances(strength, shortest) {
  return strength.map((share) => 1 - (1 - shortest) * Math.sqrt(share));
}

// Minimises Kamada and Kawai's stress. It moves one circle at a time to where the other circles want it.
export function centres(distance, count) {
  const points = Array.from({ length: count }, (_, i) => {
    const angle = (2 * Math.PI * i) / count;
    return [Math.cos(angle) / 2, Math.sin(angle) / 2];
  });
  for (let round = 0; round < MAX_ROUNDS; round += 1) {
    let moved = 0;
    for (let i = 0; i < count; i += 1) {
      let [x, y, weights] = [0, 0, 0];
      for (let j = 0; j < count; j += 1) {
        if (i === j) continue;
        const target = distance[i * count + j];
        const [dx, dy] = [points[i][0] - points[j][0], points[i][1] - points[j][1]];
        const length = Math.hypot(dx, dy) || 1e-9;
        const weight = 1 / (target * target);
        x += weight * (points[j][0] + (target * dx) / length);
        y += weight * (points[j][1] + (target * dy) / length);
        weights += weight;
      }
      if (!weights) continue;
      moved = Math.max(moved, Math.hypot(x / weights - points[i][0], y / weights - points[i][1]));
      points[i] = [x / weights, y / weights];
    }
    if (moved < 1e-4) break;
  }
  return rotateToWidest(points);
}

export function stress(points, distance) {
  const count = points.length;
  let sum = 0;
  for (let i = 0; i < count; i += 1) {
    for (let j = 0; j < i; j += 1) {
      const length = Math.hypot(points[i][0] - points[j][0], points[i][1] - points[j][1]);
      sum += (length / distance[i * count + j] - 1) ** 2;
    }
  }
  return sum;
}

// Pushes circles that overlap apart, as little as possible.
export function pushApart(points, radii, gap) {
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
        const [ux, uy] = length > 1e-6 ? [dx / length, dy / length] : [1, 0];
        pushed[i] = [pushed[i][0] + (ux * lacking) / 2, pushed[i][1] + (uy * lacking) / 2];
        pushed[j] = [pushed[j][0] - (ux * lacking) / 2, pushed[j][1] - (uy * lacking) / 2];
      }
    }
    if (largest < 0.1) break;
  }
  return pushed;
}

// The centres of the labels. A label stands inside its circle if it fits, and else beside it, where it overlaps least.
export function placeLabels(points, radii, widths, height) {
  const circles = points.map(([x, y], i) => makeBox(x, y, 2 * radii[i], 2 * radii[i]));
  const labelCentres = [];
  const largestFirst = radii.map((_, i) => i).sort((i, j) => radii[j] - radii[i]);
  const labelBoxes = [];
  for (const i of largestFirst) {
    const [x, y] = points[i];
    if (Math.hypot(widths[i], height) <= 2 * radii[i]) {
      labelCentres[i] = [x, y];
      continue;
    }
    const [beside, over, corner] = [radii[i] + 3 + widths[i] / 2, radii[i] + 2 + height / 2, 0.7 * radii[i]];
    const shifts = [
      [beside, 0],
      [-beside, 0],
      [0, over],
      [0, -over],
    ];
    for (const right of [1, -1])
      for (const down of [1, -1]) shifts.push([right * (corner + widths[i] / 2), down * (corner + height / 2)]);
    const obstacles = [...circles.filter((_, j) => j !== i), ...labelBoxes];
    const overlaps = shifts.map(([dx, dy]) => {
      const box = makeBox(x + dx, y + dy, widths[i], height);
      return obstacles.reduce((sum, obstacle) => sum + computeOverlap(box, obstacle), 0);
    });
    const [dx, dy] = shifts[overlaps.indexOf(Math.min(...overlaps))];
    labelCentres[i] = [x + dx, y + dy];
    labelBoxes.push(makeBox(x + dx, y + dy, widths[i], height));
  }
  return labelCentres;
}

// Rotates the points so that they spread most from left to right, with the first word on the left.
function rotateToWidest(points) {
  const mean = [0, 1].map((axis) => points.reduce((sum, point) => sum + point[axis], 0) / points.length);
  const centred = points.map(([x, y]) => [x - mean[0], y - mean[1]]);
  const [xx, xy, yy] = centred.reduce(([a, b, c], [x, y]) => [a + x * x, b + x * y, c + y * y], [0, 0, 0]);
  const angle = Math.atan2(2 * xy, xx - yy) / 2;
  const rotated = centred.map(([x, y]) => [
    x * Math.cos(angle) + y * Math.sin(angle),
    y * Math.cos(angle) - x * Math.sin(angle),
  ]);
  return rotated[0]?.[0] > 0 ? rotated.map(([x, y]) => [-x, -y]) : rotated;
}

function makeBox(x, y, width, height) {
  return [x - width / 2, y - height / 2, x + width / 2, y + height / 2];
}

function computeOverlap(one, other) {
  const width = Math.min(one[2], other[2]) - Math.max(one[0], other[0]);
  const height = Math.min(one[3], other[3]) - Math.max(one[1], other[1]);
  return Math.max(width, 0) * Math.max(height, 0);
}
