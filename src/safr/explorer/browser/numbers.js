// Numbers and texts in, what people read out.

export function digits(value) {
  if (value === null || value === undefined || Number.isNaN(value)) return "none";
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (size >= 1e5 || size < 1e-3) return minus(value.toExponential(1));
  return minus(size >= 100 ? value.toFixed(0) : value.toPrecision(3));
}

export function percent(share, decimals = 0) {
  return share === null || share === undefined || Number.isNaN(share)
    ? "none"
    : minus(`${(100 * share).toFixed(decimals)} %`);
}

export function points(share) {
  if (share === null || share === undefined) return "";
  const value = (100 * share).toFixed(1);
  return minus(Number(value) === 0 ? "0.0" : value);
}

export function counted(count, what) {
  return `${count.toLocaleString("en")} ${what}${count === 1 ? "" : "s"}`;
}

// One line that is safe in HTML, SVG and files: what can't be seen or would break XML is shown as a mark.
export function shown(text) {
  return (
    text
      .toWellFormed()
      .replace(/\s+/g, " ")
      .replace(/[\p{Cc}\uFFFE\uFFFF]/gu, "\uFFFD") || "\u2423"
  );
}

export function shortened(text, longest = 18) {
  const letters = [...shown(text)];
  return letters.length > longest ? `${letters.slice(0, longest - 1).join("")}…` : letters.join("");
}

function minus(written) {
  return written.replace("-", "\u2212");
}
