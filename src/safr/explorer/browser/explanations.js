// A reading as it was sent in; the words' values and a matrix of pairs at one site out.

import { SITES } from "./state.js";

export const MEASURES = {
  capacity: "Capacity",
  polysemanticity: "Polysemanticity",
  keep: "Keep probability",
  occlusion: "Occlusion",
};

const LIMIT = 32767;

// 16-bit integers, of a symmetric matrix only the pairs i < j.
export function unpacked({ values, unit, diagonal }, count) {
  const bytes = Uint8Array.from(atob(values), (letter) => letter.charCodeAt(0));
  const view = new DataView(bytes.buffer);
  const number = (place) => {
    const whole = view.getInt16(2 * place, true);
    return whole < -LIMIT ? Number.NaN : whole * unit;
  };
  const matrix = new Float64Array(count * count);
  let place = 0;
  for (let i = 0; i < count; i += 1) {
    if (diagonal) matrix[i * count + i] = diagonal[i] ?? Number.NaN;
    for (let j = diagonal ? i + 1 : 0; j < count; j += 1) {
      const value = number(place);
      matrix[i * count + j] = value;
      if (diagonal) matrix[j * count + i] = value;
      place += 1;
    }
  }
  return matrix;
}

export function siteName(kind, layer) {
  return kind === "embedding" || kind === "vmask" ? kind : `${kind}.${layer}`;
}

export function shownSite(kind, layer, layers) {
  const several = layers > 1 && kind !== "embedding" && kind !== "vmask";
  return SITES[kind] + (several ? ` of layer ${layer}` : "");
}

export function sitesOf(readings) {
  const found = new Set(readings.flatMap((each) => Object.keys(each.sites).map((name) => name.split(".")[0])));
  if (readings.some((each) => Object.keys(each.attention).length)) found.add("attention");
  return Object.keys(SITES).filter((kind) => found.has(kind));
}

export function layersOf(readings) {
  const names = readings.flatMap((each) => [...Object.keys(each.sites), ...Object.keys(each.attention)]);
  const numbers = names.map((name) => Number(name.split(".").at(-1))).filter(Number.isInteger);
  return [...new Set(numbers)].sort((one, other) => one - other);
}

// Attention has one measure of its own; it takes the place of the chosen one, which comes back with another site.
export function measuresOf(readings, whatIfs, { site, measure }) {
  const ofSites = ["capacity", "polysemanticity"];
  const attention = site === "attention";
  const offered = attention ? [ofSites.includes(measure) ? measure : ofSites[0]] : ofSites;
  const found = offered.map((name) => [name, shownMeasure(name, attention)]);
  if (readings.some((each) => each.keep)) found.push(["keep", MEASURES.keep]);
  if (whatIfs.some((each) => each?.alone)) found.push(["occlusion", MEASURES.occlusion]);
  const others = new Set(readings.flatMap((each) => Object.keys(each.other)));
  return [...found, ...[...others].map((name) => [`other:${name}`, name])];
}

// What one run shows at one site; null where it has no such site.
export function placeOf(reading, whatIf, { site, layer, measure }) {
  const numbers = reading.paired ?? reading.words.map((_, number) => number);
  const count = numbers.length;
  const name = siteName(site, layer);
  const attention = site === "attention";
  const pairs = attention ? reading.attention[layer] : reading.sites[name]?.interference;
  if (!pairs) return null;
  const matrix = unpacked(pairs, count);
  const received = attention ? reading.received[layer] : null;
  const sizes = attention ? received : reading.sites[name].capacity;
  return { reading, words: reading.words, numbers, count, matrix, attention, sizes, values: valuesOf(), site, layer };

  function valuesOf() {
    if (attention && measure in { capacity: 1, polysemanticity: 1 }) return received;
    if (measure === "keep") return reading.keep;
    if (measure === "occlusion") return whatIf?.alone ? whatIf.alone.map((left) => fall(whatIf, left)) : null;
    if (measure.startsWith("other:")) return reading.other[measure.slice(6)] ?? null;
    return reading.sites[name][measure];
  }
}

export function fall(whatIf, left) {
  const whole = Object.values(whatIf.probability)[0][0];
  return whole === null || left === null ? null : whole - left;
}

export function shownMeasure(measure, attention) {
  if (attention && (measure === "capacity" || measure === "polysemanticity")) return "Attention received";
  return MEASURES[measure] ?? measure.slice(6);
}

// Whether a matrix's diagonal is told apart, as squared norms are.
export function offDiagonal(place) {
  const { matrix, count, attention } = place;
  let most = 0;
  for (let i = 0; i < count; i += 1) {
    for (let j = 0; j < count; j += 1) {
      const size = Math.abs(matrix[i * count + j]);
      if ((i !== j || attention) && size > most) most = size;
    }
  }
  return most;
}
