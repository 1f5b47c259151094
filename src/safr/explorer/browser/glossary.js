// Explains the terms of the page: a term is underlined with dots, and tells its meaning when it is pointed at, focused
// or tapped.

import { element } from "./elements.js";
import { hideTip, showTipAt } from "./pictures.js";

export const TERMS = {
  capacity:
    "How much of its own direction inside the model a word has to itself: 1 if no other word shares it, 1/n if n words " +
    "coincide.",
  interference: "How far two words' vectors overlap: above 0 they point the same way, below 0 opposite ways.",
  polysemanticity: "How much of the other words lies along a word's own direction.",
  vmask: "VMASK: a part of the model that learns which words to let through before anything else reads them.",
  keep: "How likely VMASK is to let a word through, from 0 to 1.",
  relevance: "What a word adds to the evidence for a class, or below 0 takes from it.",
  occlusion: "How far the prediction's probability falls when this word alone is deleted.",
  neuron: "One unit of the model's inner layer. Several words can drive the same one.",
  site: "The place inside the model that is looked at.",
  fc1: "FC1: the first half of the model's feed-forward layer, where words are spread over the neurons.",
  srs: "SRS: how much accuracy a run loses when the 30 % of words of highest capacity are deleted from each text.",
};

// A term in a sentence, by default under its own name.
export function makeTerm(name, text = name) {
  return element("button", { type: "button", class: "term", "data-term": name, "aria-describedby": "tip" }, text);
}

export function setUpGlossary() {
  const show = ({ target }) => {
    const term = target.closest?.("[data-term]");
    if (term) showTipAt(term.getBoundingClientRect(), [TERMS[term.dataset.term]]);
  };
  const hide = ({ target }) => target.closest?.("[data-term]") && hideTip();
  for (const name of ["pointerover", "focusin", "click"]) document.addEventListener(name, show);
  for (const name of ["pointerout", "focusout"]) document.addEventListener(name, hide);
  document.addEventListener("keydown", ({ key }) => key === "Escape" && hideTip());
}
