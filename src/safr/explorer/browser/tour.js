// Shows newcomers around in four steps: a bar at the top that blocks nothing and can be closed for good.

import { byId } from "./elements.js";

const CLOSED = "safr-tour"; // where the browser keeps that it was closed

// The part of the page that a step is about, and what it says.
const STEPS = [
  ["headlines", "This is what the model says about the text, and how much its answer depends on the most important words."],
  ["shade", "Each word is shaded by what it adds to the answer or takes from it, its relevance. Switch to capacity to see how much room each word has inside the model; the two need not agree."],
  ["deletion", "Move the slider, or click words, to delete them. The bars show the answer without them, next to the answer without as many random words."],
  ["graph", "Circles are words, larger where a word has a direction to itself; lines join words that share one. Below are scores, other texts, and more."],
];

let step = 0;

export function setUpTour() {
  byId("tour-open").addEventListener("click", () => show(0));
  byId("tour-back").addEventListener("click", () => show(step - 1));
  byId("tour-next").addEventListener("click", () => (step + 1 < STEPS.length ? show(step + 1) : close()));
  byId("tour-close").addEventListener("click", close);
  byId("tour").addEventListener("keydown", ({ key }) => key === "Escape" && close());
  if (loadClosed() === "no") show(0, false);
}

function show(number, takesFocus = true) {
  step = number;
  const [id, text] = STEPS[step];
  byId("tour").hidden = false;
  byId("tour-step").textContent = `${step + 1} of ${STEPS.length}`;
  byId("tour-text").textContent = text;
  byId("tour-back").disabled = step === 0;
  byId("tour-next").textContent = step + 1 < STEPS.length ? "Next" : "Done";
  outline(id);
  if (!takesFocus) return;
  byId(id).scrollIntoView({ block: "center" });
  byId("tour-next").focus({ preventScroll: true });
}

function close() {
  const hadFocus = byId("tour").contains(document.activeElement);
  byId("tour").hidden = true;
  outline(null);
  if (hadFocus) byId("tour-open").focus();
  try {
    localStorage.setItem(CLOSED, "yes");
  } catch {
    /* The browser forbids it, so the tour stays closed as long as the page. */
  }
}

function outline(id) {
  for (const [other] of STEPS) byId(other).classList.toggle("toured", other === id);
}

// "no" at a first visit. In the frame of a notebook nothing can be kept, and no tour begins by itself.
function loadClosed() {
  try {
    return localStorage.getItem(CLOSED) ?? "no";
  } catch {
    return "unknown";
  }
}
