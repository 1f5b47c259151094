// Prints the key of the shaded words: what the colours mean, and the numbers at both ends of the scale.

import { element } from "./elements.js";
import { findScale, quoteTarget } from "./explanations.js";
import { formatNumber, MINUS } from "./numbers.js";
import { state } from "./state.js";
import { update } from "./update.js";

// `hint` says what unsigned words show.
export function drawKey(container, entries, measure, hint) {
  const scale = findScale(entries, state.measure);
  const isSigned = entries.some(({ siteData }) => siteData?.signed);
  const ramp = element("span", { class: isSigned ? "ramp signed" : "ramp", "aria-hidden": "true" });
  const [low, high] = [isSigned ? -scale : 0, scale].map((end) => (end === 1 ? "1" : formatNumber(end)));
  update(
    container,
    element("span", { class: "ends", key: "ends" }, low, ramp, high),
    " ",
    element("span", { key: "meaning" }, ...(isSigned ? explainSigns(entries, measure) : [hint])),
  );
}

// What blue and orange words mean, as texts and nodes in those colours.
function explainSigns(entries, measure) {
  const targets = [...new Set(entries.map(({ siteData }) => siteData?.target).filter(Boolean))];
  const target = targets.length > 1 ? "the class that the run predicts" : targets.map(quoteTarget)[0];
  const name = measure.toLowerCase();
  const blue = element("span", { class: "sample" }, "blue");
  const orange = element("span", { class: "sample against" }, `${MINUS}orange`);
  return target
    ? [`By ${name}, `, blue, ` words speak for ${target}, and `, orange, " ones with a minus against it."]
    : [`By ${name}, `, blue, " words are above 0, and ", orange, " ones with a minus below."];
}
