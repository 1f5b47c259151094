// Shows one neuron in a dialog: the words that drive it most in all texts, and what it adds to each class.

import { byId, element, svgElement } from "./elements.js";
import { cleanText, formatCount, formatNumber, formatPercent, shorten } from "./numbers.js";
import { setSize } from "./pictures.js";
import { fetchNeuron, findRow, isRegression } from "./source.js";
import { change } from "./state.js";

const OPENED_TEXT = "text"; // how the dialog was closed
const MOST_CLASSES = 12; // classes that get a bar
const ROW_HEIGHT = 22;
const NAME_WIDTH = 120;
const NUMBER_WIDTH = 70;

// Width of a picture in the dialog.
export function dialogWidth() {
  return Math.min(440, innerWidth - 80);
}

// Opens the page of a neuron. `effect` is a node about switching it off. `leave` is called when the page is closed
// and no text was opened from it.
export async function openNeuron({ run, number, site, effect, leave }) {
  const dialog = byId("neuron");
  const body = element("div", { class: "about", "aria-busy": "true" }, "…");
  dialog.replaceChildren(
    element(
      "div",
      { class: "head" },
      element("h2", { id: "neuron-title" }, `Neuron ${number}`),
      element("p", { class: "hint" }, `${site}, ${run}`),
      element("div", { class: "tools" }, element("button", { type: "button", click: () => dialog.close() }, "Close")),
    ),
    body,
    element("h3", {}, "What the prediction gets from it"),
    effect,
  );
  dialog.returnValue = "";
  const finish = () => {
    if (dialog.returnValue !== OPENED_TEXT) leave();
  };
  dialog.addEventListener("close", finish, { once: true });
  if (!dialog.open) dialog.showModal();
  try {
    const page = await fetchNeuron(run, number);
    body.replaceChildren(...(page ? describeNeuron(page, dialog) : [element("p", { class: "none" }, NOTHING_KEPT)]));
  } catch (error) {
    body.replaceChildren(element("p", { class: "none" }, error.message));
  }
  body.removeAttribute("aria-busy");
}

const NOTHING_KEPT = "This run has no table of its neurons; run `safr evaluate` again, then export the file again.";

function describeNeuron({ active, top, kept, distinct, relevance }, dialog) {
  const classes = Object.entries(relevance).filter(([, value]) => value !== null);
  const first = top.length < kept ? ` Here are the first ${top.length}.` : "";
  return [
    element("p", {}, `Above 0, and so active, at ${formatPercent(active, 1)} of all words of the test texts.`),
    element("h3", {}, "Words that drive it most"),
    element(
      "p",
      { class: "hint" },
      kept
        ? `${formatCount(distinct, "different word")} among the ${kept} words of largest activation.${first}`
        : "No word of the test texts drives it.",
    ),
    element(
      "ol",
      { class: "top-words" },
      top.map((word) => element("li", {}, makeContext(word, dialog), " ", makeActivation(word))),
    ),
    ...(classes.length
      ? [
          element("h3", {}, isRegression ? "What it adds to the value" : "What it adds to each class"),
          element("p", { class: "hint" }, "Summed over a text: the mean over the texts that get the class."),
          drawClasses(classes),
        ]
      : []),
  ];
}

// The word among its neighbours, as a button that opens the text where the page has it.
function makeContext({ text, position, before, word, after }, dialog) {
  const parts = [
    before ? `${cleanText(before)} ` : "",
    element("b", {}, element("bdi", {}, cleanText(word))),
    after ? ` ${cleanText(after)}` : "",
  ];
  if (!findRow(text)) return element("span", { class: "context", dir: "auto" }, parts);
  const open = () => {
    dialog.close(OPENED_TEXT);
    change({ text, typed: "", word: position, count: 0, without: null });
    byId("sentence").scrollIntoView();
    byId("sentence").focus({ preventScroll: true });
  };
  const attributes = { type: "button", class: "context", dir: "auto", title: "Open this text", click: open };
  return element("button", attributes, parts);
}

function makeActivation({ activation }) {
  return element("span", { class: "faint" }, formatNumber(activation));
}

function drawClasses(classes) {
  const width = dialogWidth();
  const strongest = [...classes].sort(([, one], [, other]) => Math.abs(other) - Math.abs(one)).slice(0, MOST_CLASSES);
  const shown = classes.filter((one) => strongest.includes(one));
  const low = Math.min(0, ...shown.map(([, value]) => value));
  const high = Math.max(0, ...shown.map(([, value]) => value));
  const scaleX = (value) => NAME_WIDTH + ((width - NAME_WIDTH - NUMBER_WIDTH) * (value - low)) / (high - low || 1);
  const rows = shown.map(([name, value], row) => {
    const [y, start, end] = [(row + 0.5) * ROW_HEIGHT, scaleX(0), scaleX(value)];
    return [
      svgElement(
        "text",
        { x: NAME_WIDTH - 8, y, "text-anchor": "end", "dominant-baseline": "central" },
        name ? shorten(name) : "value",
      ),
      svgElement("rect", {
        class: value < 0 ? "bar below" : "bar",
        x: Math.min(start, end),
        y: y - 7,
        width: Math.abs(end - start),
        height: 14,
      }),
      svgElement(
        "text",
        { class: "value", x: Math.max(start, end) + 5, y, "dominant-baseline": "central" },
        (value > 0 ? "+" : "") + formatNumber(value),
      ),
    ];
  });
  const description = shown.map(([name, value]) => `${cleanText(name)} ${formatNumber(value)}`).join(", ");
  const axis = { class: "axis zero", x1: scaleX(0), x2: scaleX(0), y1: 0, y2: shown.length * ROW_HEIGHT };
  const picture = svgElement("svg", { class: "bars", role: "img", "aria-label": description }, rows.flat());
  picture.append(svgElement("line", axis));
  return setSize(picture, width, shown.length * ROW_HEIGHT);
}
