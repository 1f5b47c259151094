// What the matrix shows: values, cosines or the difference of two runs, in which order of words, and on what scale.

import { areBothUnknown } from "./explanations.js";

const CLIPPED_SHARE = 0.02; // of the pairs, the strongest, share the full colour; one repeated word would take it alone

// One matrix for each run, or a single one about the difference. `rows` are words, `values` their pairs row by row (not
// a number where there is none), and `isOff` says which cells are off the scale. Null for a run without the site.
export function prepareMatrices(entries, { cells, arrangement }) {
  const tables = entries.map(({ siteData }) => siteData && prepareTable(siteData, cells !== "values"));
  const shown = cells === "difference" ? [subtract(tables[0], tables[1])] : tables;
  const order = arrangement === "clusters" ? findOrder(shown.find(Boolean)) : null;
  return shown.map((table) => table && order && hasSameRows(table, shown.find(Boolean)) ? sortTable(table, order) : table);
}

// Why there is no difference to show, or "" if there is one.
export function explainNoDifference(entries) {
  if (entries.length < 2) return "Choose a second run to see the difference.";
  const [one, other] = entries.map(({ siteData }) => siteData);
  if (!one || !other) return "One of the runs has recorded nothing here.";
  const haveSameWords = one.words.length === other.words.length && one.words.every((text, i) => text === other.words[i]);
  return haveSameWords ? "" : "The runs read different words, so their pairs can't be compared.";
}

// The size from which on a cell has its full colour, and the largest size. Where the strongest pairs stand out, they
// are clipped; cosines are not, so that runs can be compared.
export function findLimit({ values, rows, isOff, areCosines }) {
  const sizes = [...values].filter((value, cell) => Number.isFinite(value) && !isOff(cell, rows.length)).map(Math.abs);
  if (areCosines) return { limit: 1, largest: Math.max(0, ...sizes) };
  sizes.sort((one, other) => other - one);
  const largest = sizes[0] ?? 0;
  const limit = sizes[Math.floor(CLIPPED_SHARE * sizes.length)] || largest;
  return { limit, largest };
}

function prepareTable(siteData, asCosines) {
  const { wordOfRow, count, matrix, isAttention } = siteData;
  const norms = wordOfRow.map((_, row) => Math.sqrt(matrix[row * count + row]));
  const areCosines = asCosines && !isAttention;
  const values = areCosines
    ? matrix.map((value, cell) => clamp(value / (norms[Math.floor(cell / count)] * norms[cell % count])))
    : matrix;
  const isUnknown = wordOfRow.map((word) => siteData.unknown[word]);
  return addOffScale({ siteData, rows: wordOfRow, isUnknown, values, isAttention, areCosines });
}

// The words that both have pairs of, the first minus the second.
function subtract(one, other) {
  const rows = one.rows.filter((word) => other.rows.includes(word));
  const values = new Float64Array(rows.length ** 2);
  rows.forEach((word, i) =>
    rows.forEach((column, j) => {
      values[i * rows.length + j] = read(one, word, column) - read(other, word, column);
    }),
  );
  const isUnknown = rows.map((word) => one.siteData.unknown[word] || other.siteData.unknown[word]);
  return addOffScale({ ...one, rows, isUnknown, values, areCosines: false });

  function read(table, word, column) {
    return table.values[table.rows.indexOf(word) * table.rows.length + table.rows.indexOf(column)];
  }
}

function sortTable(table, order) {
  const count = order.length;
  const values = new Float64Array(count * count);
  order.forEach((row, i) =>
    order.forEach((column, j) => {
      values[i * count + j] = table.values[row * count + column];
    }),
  );
  const isUnknown = order.map((row) => table.isUnknown[row]);
  return addOffScale({ ...table, rows: order.map((row) => table.rows[row]), isUnknown, values });
}

// The diagonal of interference holds squared norms, and two unknown words are one to the model.
function addOffScale(table) {
  const isPairOfUnknown = (row, column) =>
    areBothUnknown({ unknown: table.isUnknown, wordOfRow: table.rows.map((_, i) => i), isAttention: table.isAttention }, row, column);
  const isDiagonal = (row, column) => !table.isAttention && row === column;
  return {
    ...table,
    isDiagonal,
    isPairOfUnknown,
    isOff: (cell, count) => {
      const [row, column] = [Math.floor(cell / count), cell % count];
      return isDiagonal(row, column) || isPairOfUnknown(row, column);
    },
  };
}

// Rows in an order that puts alike ones beside each other: clusters are joined two by two, the nearest first, by the
// mean distance of their words (average linkage).
export function findOrder(table) {
  if (!table) return null;
  const { rows, values, isOff } = table;
  const count = rows.length;
  const sizes = [...values].map((value, cell) => (isOff(cell, count) || !Number.isFinite(value) ? 0 : value));
  const largest = Math.max(...sizes.map(Math.abs)) || 1;
  let clusters = rows.map((_, row) => [row]);
  // The distance of two clusters, by their numbers; symmetric, also of attention.
  const distances = rows.map((_, i) => rows.map((_cell, j) => 1 - (sizes[i * count + j] + sizes[j * count + i]) / 2 / largest));
  while (clusters.length > 1) {
    let best = [0, 1];
    for (let i = 0; i < clusters.length; i += 1)
      for (let j = i + 1; j < clusters.length; j += 1)
        if (distances[i][j] < distances[best[0]][best[1]]) best = [i, j];
    const [i, j] = best;
    const [one, other] = [clusters[i].length, clusters[j].length];
    for (let k = 0; k < clusters.length; k += 1) {
      distances[i][k] = (one * distances[i][k] + other * distances[j][k]) / (one + other);
      distances[k][i] = distances[i][k];
    }
    clusters[i] = [...clusters[i], ...clusters[j]];
    clusters = clusters.filter((_, k) => k !== j);
    distances.splice(j, 1);
    for (const row of distances) row.splice(j, 1);
  }
  return clusters[0] ?? [];
}

function hasSameRows(one, other) {
  return one.rows.length === other.rows.length && one.rows.every((word, row) => word === other.rows[row]);
}

function clamp(cosine) {
  return Math.min(Math.max(cosine, -1), 1);
}
