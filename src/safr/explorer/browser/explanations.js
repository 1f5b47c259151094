// Reads explanations as the page or the server sends them: sites, layers, measures, and the values of words and pairs.

import { cleanText, formatNumber, formatPercent, shorten } from "./numbers.js";
import { isRegression, payload } from "./source.js";
import { SITES } from "./state.js";

export const MEASURES = {
  capacity: "Capacity",
  polysemanticity: "Polysemanticity",
  keep: "Keep probability",
  relevance: "Relevance",
  occlusion: "Occlusion",
};

const MAX_INTEGER = 32767;

// Unpacks 16-bit integers to a matrix. Of a symmetric matrix, which has a diagonal, only the pairs i < j are packed.
export function unpackMatrix({ values, unit, diagonal }, count) {
  const readValue = makeReader(values, unit);
  const matrix = new Float64Array(count * count);
  let index = 0;
  for (let i = 0; i < count; i += 1) {
    if (diagonal) matrix[i * count + i] = diagonal[i] ?? Number.NaN;
    for (let j = diagonal ? i + 1 : 0; j < count; j += 1) {
      const value = readValue(index);
      matrix[i * count + j] = value;
      if (diagonal) matrix[j * count + i] = value;
      index += 1;
    }
  }
  return matrix;
}

// Unpacks 16-bit integers to as many rows, of as many values each.
export function unpackRows({ values, unit }, rows, columns) {
  const readValue = makeReader(values, unit);
  return Array.from({ length: rows }, (_, row) =>
    Array.from({ length: columns }, (_cell, column) => readValue(row * columns + column)),
  );
}

function makeReader(values, unit) {
  const bytes = Uint8Array.from(atob(values), (letter) => letter.charCodeAt(0));
  const view = new DataView(bytes.buffer);
  return (index) => {
    const integer = view.getInt16(2 * index, true);
    return integer < -MAX_INTEGER ? Number.NaN : integer * unit;
  };
}

export function getSiteName(kind, layer) {
  return kind === "embedding" || kind === "vmask" ? kind : `${kind}.${layer}`;
}

export function formatSiteTitle(kind, layer, layerCount) {
  const needsLayer = layerCount > 1 && kind !== "embedding" && kind !== "vmask";
  return SITES[kind] + (needsLayer ? ` of layer ${layer}` : "");
}

export function listSites(explanations) {
  const kinds = new Set(explanations.flatMap(({ sites }) => Object.keys(sites).map((name) => name.split(".")[0])));
  if (explanations.some(({ attention }) => Object.keys(attention).length)) kinds.add("attention");
  return Object.keys(SITES).filter((kind) => kinds.has(kind));
}

export function listLayers(explanations) {
  const names = explanations.flatMap(({ sites, attention }) => [...Object.keys(sites), ...Object.keys(attention)]);
  const numbers = names.map((name) => Number(name.split(".").at(-1))).filter(Number.isInteger);
  return [...new Set(numbers)].sort((one, other) => one - other);
}

// Pairs of a measure's name and title. Attention has a single measure. It stands in the place of the chosen one, which
// comes back when another site is chosen.
export function listMeasures(explanations, whatIfs, { site, measure }) {
  const siteMeasures = ["capacity", "polysemanticity"];
  const isAttention = site === "attention";
  const names = isAttention ? [siteMeasures.includes(measure) ? measure : siteMeasures[0]] : siteMeasures;
  const measures = names.map((name) => [name, formatMeasure(name, isAttention)]);
  if (explanations.some(({ keep }) => keep)) measures.push(["keep", MEASURES.keep]);
  if (explanations.some(({ relevance }) => Object.keys(relevance).length))
    measures.push(["relevance", MEASURES.relevance]);
  if (whatIfs.some((whatIf) => whatIf?.alone)) measures.push(["occlusion", MEASURES.occlusion]);
  const others = new Set(explanations.flatMap(({ other }) => Object.keys(other)));
  return [...measures, ...[...others].map((name) => [`other:${name}`, name])];
}

// Pairs of a class's number and name, of all classes that the chosen measure can be about; none if that is one alone.
export function listTargets(explanations, { measure }) {
  if (measure !== "relevance") return [];
  const names = new Map(
    explanations.flatMap((explanation) =>
      Object.keys(explanation.relevance).map((label) => [label, nameLabel(explanation, label)]),
    ),
  );
  return explanations.some(({ relevance }) => Object.keys(relevance).length > 1) ? [...names] : [];
}

// The class that the values of a measure speak for or against; "" if they are about no class.
export function findTarget(explanation, { measure, target }) {
  const { relevance, labels, predicted, prediction, targets } = explanation;
  if (measure === "relevance") return labels[target !== null && target in relevance ? target : predicted];
  if (measure === "occlusion") return prediction;
  return measure.startsWith("other:") ? (targets[measure.slice(6)] ?? "") : "";
}

// What one run shows at one site, or null if it has no such site. Rows and columns of `matrix` are the words of
// `wordOfRow`, `sizes` are what circles show, and `values` are those of the chosen measure. If they are
// `signed`, `signs` are 1 for words that speak for the class `target`, -1 against it, and 0 for those that hardly do.
export function getSiteData(explanation, whatIf, { site, layer, measure, target }) {
  const wordOfRow = explanation.paired ?? explanation.words.map((_, word) => word);
  const count = wordOfRow.length;
  const name = getSiteName(site, layer);
  const isAttention = site === "attention";
  const pairs = isAttention ? explanation.attention[layer] : explanation.sites[name]?.interference;
  if (!pairs) return null;
  const matrix = unpackMatrix(pairs, count);
  const { words, unknown } = explanation;
  const received = isAttention ? explanation.received[layer] : null;
  const sizes = isAttention ? received : explanation.sites[name].capacity;
  const layout = explanation.layouts[name];
  const values = getValues();
  const about = findTarget(explanation, { measure, target });
  // Scores of other tools may be negative too, and are about no class that is known here.
  const signed = about !== "" || (values ?? []).some((value) => value < 0);
  const faint = payload.look.faint * findLargestSize(values);
  const signs = signed ? (values ?? []).map((value) => (Math.abs(value ?? 0) > faint ? Math.sign(value) : 0)) : [];
  return {
    words,
    unknown,
    wordOfRow,
    count,
    matrix,
    isAttention,
    sizes,
    layout,
    values,
    signed,
    signs,
    target: about,
    layer,
  };

  function getValues() {
    if (isAttention && measure in { capacity: 1, polysemanticity: 1 }) return received;
    if (measure === "keep") return explanation.keep;
    if (measure === "relevance")
      return explanation.relevance[target] ?? explanation.relevance[explanation.predicted] ?? null;
    if (measure === "occlusion") return whatIf?.alone ? whatIf.alone.map((share) => computeDrop(whatIf, share)) : null;
    if (measure.startsWith("other:")) return explanation.other[measure.slice(6)] ?? null;
    return explanation.sites[name][measure];
  }
}

// How far the predicted class's probability has fallen if `share` of it is left.
export function computeDrop(whatIf, share) {
  const whole = Object.values(whatIf.probability)[0][0];
  return whole === null || share === null ? null : whole - share;
}

export function formatMeasure(measure, isAttention) {
  if (isAttention && (measure === "capacity" || measure === "polysemanticity")) return "Attention received";
  return MEASURES[measure] ?? measure.slice(6);
}

// Whether the words of two rows are unknown to the tokenizer. To the model they are one and the same word, so their
// interference is the vocabulary's doing. Attention between them is the model's.
export function areBothUnknown({ unknown, wordOfRow, isAttention }, i, j) {
  return !isAttention && i !== j && unknown[wordOfRow[i]] && unknown[wordOfRow[j]];
}

export function findLargestSize(values) {
  return Math.max(0, ...(values ?? []).map((value) => Math.abs(value ?? 0)));
}

// The value at which words of all runs have their full colour: 1 for shares, and else the largest of all runs.
export function findScale(entries, measure) {
  const isShare = measure === "capacity" || measure === "keep";
  if (isShare && !entries.some(({ siteData }) => siteData?.isAttention)) return 1;
  return Math.max(0, ...entries.map(({ siteData }) => findLargestSize(siteData?.values ?? null)));
}

// What a word's sign says, as in "speaks against “good”"; "" if it says nothing.
export function describeSign({ signs, target }, word) {
  const sign = signs[word] ?? 0;
  if (sign === 0) return "";
  if (!target) return sign > 0 ? "above 0" : "below 0";
  return `speaks ${sign > 0 ? "for" : "against"} ${quoteTarget(target)}`;
}

export function quoteTarget(target) {
  return isRegression ? "a higher value" : `“${shorten(target, 30)}”`;
}

// The name of a class, with its number if another has the same name.
export function nameLabel({ labels }, label) {
  const name = labels[label];
  return labels.filter((other) => other === name).length > 1 ? `${name} (${label})` : name;
}

// A predicted value: a probability in per cent, or a number as it is.
export function formatShare(share, decimals = 1) {
  return isRegression ? formatNumber(share) : formatPercent(share, decimals);
}

// Whether an answer is the text's label, and the label's name.
export function judgeAnswer(answer, label) {
  return { isRight: answer === label, labelName: label ? cleanText(label) : "none" };
}

// What is predicted where the value of the predicted class, which has this name, is `followed`; null if that does not
// tell. Of two classes whose probabilities add up to 1, one's tells.
export function guessPrediction({ labels, shares, predicted }, name, followed) {
  const areTwo = !isRegression && labels.length === 2 && Math.abs(shares[0] + shares[1] - 1) < 1e-3;
  if (!areTwo || followed === null) return null;
  return followed < 0.5 ? labels[1 - predicted] : name;
}
