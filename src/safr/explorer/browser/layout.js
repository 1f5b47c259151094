// How strongly words interfere and how large their circles are in, where to put circles and labels out.
// The same distances, and the same stress that is made small, as in the figures of the Python package.

const ROUNDS = 400;
const PUSHES = 200;

// Absolute value of each pair relative to the strongest, in [0, 1]; of attention the mean of both directions.
export function strengths(matrix, count) {
  const size = new Float64Array(count * count);
  let most = 0;
  for (let i = 0; i < count; i += 1) {
    for (let j = 0; j < count; j += 1) {
      if (i === j) continue;
      const both = Math.abs(matrix[i * count + j] + matrix[j * count + i]) / 2;
      size[i * count + j] = Number.isFinite(both) ? both : 0;
      most = Math.max(most, size[i * count + j]);
    }
  }
  return size.map((each) => each / (most || 1));
}

export function distances(strength, shortest) {
  return strength.map((each) => 1 - (1 - shortest) * Math.sqrt(each));
}

// Kamada and Kawai's stress, made small by moving one circle at a time to where the others want it.
export function centres(distance, count) {
  const found = Array.from({ length: count }, (_, i) => {
    const angle = (2 * Math.PI * i) / count;
    return [Math.cos(angle) / 2, Math.sin(angle) / 2];
  });
  for (let round = 0; round < ROUNDS; round += 1) {
    let moved = 0;
    for (let i = 0; i < count; i += 1) {
      let [x, y, weights] = [0, 0, 0];
      for (let j = 0; j < count; j += 1) {
        if (i === j) continue;
        const wanted = distance[i * count + j];
        const [dx, dy] = [found[i][0] - found[j][0], found[i][1] - found[j][1]];
        const apart = Math.hypot(dx, dy) || 1e-9;
        const weight = 1 / (wanted * wanted);
        x += weight * (found[j][0] + (wanted * dx) / apart);
        y += weight * (found[j][1] + (wanted * dy) / apart);
        weights += weight;
      }
      if (!weights) continue;
      moved = Math.max(moved, Math.hypot(x / weights - found[i][0], y / weights - found[i][1]));
      found[i] = [x / weights, y / weights];
    }
    if (moved < 1e-4) break;
  }
  return longestAcross(found);
}

export function stress(found, distance) {
  const count = found.length;
  let sum = 0;
  for (let i = 0; i < count; i += 1) {
    for (let j = 0; j < i; j += 1) {
      const apart = Math.hypot(found[i][0] - found[j][0], found[i][1] - found[j][1]);
      sum += (apart / distance[i * count + j] - 1) ** 2;
    }
  }
  return sum;
}

// Turned so that they spread most from left to right, with the first word on the left.
function longestAcross(found) {
  const mean = [0, 1].map((axis) => found.reduce((sum, each) => sum + each[axis], 0) / found.length);
  const about = found.map(([x, y]) => [x - mean[0], y - mean[1]]);
  const [xx, xy, yy] = about.reduce(([a, b, c], [x, y]) => [a + x * x, b + x * y, c + y * y], [0, 0, 0]);
  const angle = Math.atan2(2 * xy, xx - yy) / 2;
  const turned = about.map(([x, y]) => [
    x * Math.cos(angle) + y * Math.sin(angle),
    y * Math.cos(angle) - x * Math.sin(angle),
  ]);
  return turned[0]?.[0] > 0 ? turned.map(([x, y]) => [-x, -y]) : turned;
}

// Circles that overlap are pushed apart, as little as it takes.
export function pushedApart(found, radii, gap) {
  const moved = found.map((each) => [...each]);
  for (let push = 0; push < PUSHES; push += 1) {
    let most = 0;
    for (let i = 0; i < moved.length; i += 1) {
      for (let j = 0; j < i; j += 1) {
        const [dx, dy] = [moved[i][0] - moved[j][0], moved[i][1] - moved[j][1]];
        const apart = Math.hypot(dx, dy);
        const lacking = radii[i] + radii[j] + gap - apart;
        if (lacking <= 0) continue;
        most = Math.max(most, lacking);
        const [ux, uy] = apart > 1e-6 ? [dx / apart, dy / apart] : [1, 0];
        moved[i] = [moved[i][0] + (ux * lacking) / 2, moved[i][1] + (uy * lacking) / 2];
        moved[j] = [moved[j][0] - (ux * lacking) / 2, moved[j][1] - (uy * lacking) / 2];
      }
    }
    if (most < 0.1) break;
  }
  return moved;
}

// For each word the centre of its label: inside its circle if it fits, else the least crowded place beside it.
export function labelPlaces(found, radii, widths, height) {
  const circles = found.map(([x, y], i) => box(x, y, 2 * radii[i], 2 * radii[i]));
  const places = [];
  const order = radii.map((_, i) => i).sort((i, j) => radii[j] - radii[i]);
  const taken = [];
  for (const i of order) {
    const [x, y] = found[i];
    if (Math.hypot(widths[i], height) <= 2 * radii[i]) {
      places[i] = [x, y];
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
    const others = [...circles.filter((_, j) => j !== i), ...taken];
    const crowded = shifts.map(([dx, dy]) => {
      const place = box(x + dx, y + dy, widths[i], height);
      return others.reduce((sum, other) => sum + overlap(place, other), 0);
    });
    const [dx, dy] = shifts[crowded.indexOf(Math.min(...crowded))];
    places[i] = [x + dx, y + dy];
    taken.push(box(x + dx, y + dy, widths[i], height));
  }
  return places;
}

function box(x, y, width, height) {
  return [x - width / 2, y - height / 2, x + width / 2, y + height / 2];
}

function overlap(one, other) {
  const width = Math.min(one[2], other[2]) - Math.max(one[0], other[0]);
  const height = Math.min(one[3], other[3]) - Math.max(one[1], other[1]);
  return Math.max(width, 0) * Math.max(height, 0);
}
