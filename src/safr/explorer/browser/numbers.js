// Formats numbers and texts for people to read.

export const MINUS = "\u2212";
export const UNKNOWN_MARK = "†";
export const UNKNOWN_MEANING = "unknown to the tokenizer";

export function formatNumber(value) {
  if (value === null || value === undefined || Number.isNaN(value)) return "none";
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (size >= 1e5 || size < 1e-3) return useMinusSign(value.toExponential(1));
  return useMinusSign(size >= 100 ? value.toFixed(0) : value.toPrecision(3));
}

// As many decimals as the largest value of a column needs for three or four digits, so that the column lines up and what
// is next to nothing reads as 0.000.
export function formatBeside(value, largest) {
  if (value === null || value === undefined || Number.isNaN(value) || largest < 1e-3 || largest >= 1e4)
    return formatNumber(value);
  const power = Math.floor(Math.log10(largest));
  const text = value.toFixed(power < 0 ? 2 - power : 3 - power);
  return useMinusSign(Number(text) === 0 ? text.replace("-", "") : text);
}

export function formatPercent(share, decimals = 0) {
  return share === null || share === undefined || Number.isNaN(share)
    ? "none"
    : useMinusSign(`${(100 * share).toFixed(decimals)} %`);
}

export function formatPoints(share) {
  if (share === null || share === undefined) return "";
  const points = (100 * share).toFixed(1);
  return useMinusSign(Number(points) === 0 ? "0.0" : points);
}

export function formatCount(count, noun) {
  return `${count.toLocaleString("en")} ${noun}${count === 1 ? "" : "s"}`;
}

// The text as one line that is safe in HTML, SVG and files. Letters that are invisible or break XML become a mark.
export function cleanText(text) {
  return (
    text
      .toWellFormed()
      .replace(/\s+/g, " ")
      .replace(/[\p{Cc}\uFFFE\uFFFF]/gu, "\uFFFD") || "\u2423"
  );
}

export function shorten(text, longest = 18) {
  const letters = [...cleanText(text)];
  return letters.length > longest ? `${letters.slice(0, longest - 1).join("")}…` : letters.join("");
}

// The word as pictures name it, with a mark if it is unknown to the tokenizer.
export function nameWord({ words, unknown }, word, longest = 18) {
  return shorten(words[word], longest) + (unknown[word] ? UNKNOWN_MARK : "");
}

function useMinusSign(text) {
  return text.replaceAll("-", MINUS); // of the exponent too
}
