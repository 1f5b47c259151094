// Sets up the controls at the top, the field for a sentence, links and colours. What people choose changes the state.

import { stepBy, stepTo } from "./deletion.js";
import { byId, setOptions } from "./elements.js";
import { restoreNeurons } from "./neurons.js";
import { formatCount, formatPercent } from "./numbers.js";
import { copyLink } from "./saving.js";
import { findRow, payload } from "./source.js";
import { change, formatAddress, listShownRuns, onChange, state } from "./state.js";
import { listMatchingRows } from "./texts.js";
import { flipAnswer } from "./what_if.js";

// Name of the theme, its title, and what a screen reader says.
const THEMES = [
  ["", "Auto", "as the system"],
  ["light", "Light", "light"],
  ["dark", "Dark", "dark"],
];
const TYPING_PAUSE = 350; // milliseconds
const MOST_NAMED_RUNS = 4; // with their accuracy, in the page's first line
const PAPER = "Superposition-Aware Feature Regularization: Chang, Deng and Chen, Findings of NAACL 2025.";

// `getEntries` returns the runs that are shown, and `redraw` draws all pictures again.
export function setUpControls(names, getEntries, redraw) {
  showAbout();
  byId("made").textContent = `SAFR ${payload.version}. ${PAPER}`;
  setOptions(
    byId("run"),
    names.map((name) => [name, name]),
    state.run,
  );
  setOptions(byId("beside"), [["", "none"], ...names.map((name) => [name, name])], state.beside);
  for (const id of ["this-run", "other-run"]) byId(id).hidden = names.length < 2;
  byId("run").addEventListener("change", (event) =>
    change({ run: event.target.value, beside: state.beside === event.target.value ? "" : state.beside }),
  );
  byId("beside").addEventListener("change", (event) =>
    change({ beside: event.target.value === state.run ? "" : event.target.value }),
  );
  onChange(() => {
    showAbout();
    byId("run").value = state.run;
    byId("beside").value = state.beside;
  });
  byId("layer").addEventListener("change", (event) => change({ layer: Number(event.target.value) }));
  byId("measure").addEventListener("change", (event) => change({ measure: event.target.value }));
  byId("shade").addEventListener("change", ({ target: { value } }) => change({ measure: value, order: value }));
  byId("target").addEventListener("change", ({ target: { value } }) =>
    change({ target: value === "" ? null : Number(value) }),
  );
  byId("lines").addEventListener("input", (event) => change({ lines: Number(event.target.value) }));
  byId("count").addEventListener("input", (event) => stepTo(Number(event.target.value), getEntries()));
  byId("fewer").addEventListener("click", () => stepBy(-1, getEntries()));
  byId("more").addEventListener("click", () => stepBy(1, getEntries()));
  byId("order").addEventListener("change", (event) => change({ order: event.target.value }));
  byId("switch-on").addEventListener("click", restoreNeurons);
  byId("rank").addEventListener("change", (event) => change({ rank: event.target.value }));
  byId("strongest").addEventListener("click", () => change({ lines: null }));
  byId("word-order").value = state.wordOrder;
  byId("word-order").addEventListener("change", (event) => change({ wordOrder: event.target.value }));
  byId("flip").addEventListener("click", flipAnswer);
  byId("restore").addEventListener("click", () => change({ count: 0, without: null }));
  setUpTheme(redraw);
  setUpLinks();
  let width = innerWidth;
  addEventListener("resize", () => {
    if (innerWidth === width) return; // a phone's address bar changes only the height
    width = innerWidth;
    redraw();
  });
}

// The data, and how often the runs are right; of many, those that are shown.
function showAbout() {
  const shown = listShownRuns();
  const named = payload.runs.filter(({ name }) => payload.runs.length <= MOST_NAMED_RUNS || shown.includes(name));
  const accuracies = named.flatMap(({ name, scores: { accuracy } }) =>
    accuracy ? [`${name} ${formatPercent(accuracy.value, 1)}`] : [],
  );
  byId("about").textContent = [
    payload.data,
    payload.runs.length > 1 ? formatCount(payload.runs.length, "run") : payload.data && payload.runs[0].name,
    accuracies.length ? `accuracy on the test texts: ${accuracies.join(", ")}` : "",
  ]
    .filter(Boolean)
    .join(" · ");
}

export function setUpSentence() {
  const field = byId("typed");
  if (payload.has_pairs) byId("typed-label").textContent = "Type any two texts, on a line each";
  byId("ask").hidden = !payload.live;
  const several = payload.rows.length > 1;
  for (const id of ["previous", "next", "random"]) byId(id).hidden = !several;
  byId("texts").hidden = !several;
  // As the table below is searched, filtered and sorted.
  const openRow = (choose) => {
    const rows = listMatchingRows();
    if (!rows.length) return;
    const index = choose(
      rows.findIndex(({ number }) => number === state.text),
      rows.length,
    );
    const { number } = rows.at(index % rows.length);
    change({ text: number, typed: "", word: null, count: 0, without: null });
  };
  byId("previous").addEventListener("click", () => openRow((index) => (index < 0 ? -1 : index - 1)));
  byId("next").addEventListener("click", () => openRow((index) => index + 1));
  byId("random").addEventListener("click", () => openRow((_, count) => Math.floor(Math.random() * count)));
  const showText = () => {
    if (document.activeElement !== field)
      field.value = state.text === null ? state.typed : (findRow(state.text)?.text ?? "");
  };
  showText();
  let timer = 0;
  onChange(() => {
    if (state.text !== null) clearTimeout(timer); // another text was opened while one was being typed
    showText();
  });
  const ask = () => {
    clearTimeout(timer);
    change({ text: null, typed: field.value, word: null, count: 0, without: null });
  };
  byId("ask").addEventListener("submit", (event) => {
    event.preventDefault();
    ask();
  });
  field.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
      event.preventDefault();
      ask();
    }
  });
  field.addEventListener("input", () => {
    clearTimeout(timer);
    if (field.value.trim()) timer = setTimeout(ask, TYPING_PAUSE);
  });
}

function setUpLinks() {
  byId("link").addEventListener("click", async (event) => {
    const button = event.currentTarget;
    if (!(await copyLink(location.href.split("#")[0] + formatAddress()))) return;
    button.textContent = "Copied";
    setTimeout(() => {
      button.textContent = "Copy link";
    }, 1500);
  });
  addEventListener("hashchange", () => location.reload());
  // The address behind the # holds the state, so links within the page must not replace it.
  for (const link of document.querySelectorAll("a[href^='#']")) {
    link.hidden = byId(link.getAttribute("href").slice(1)).hidden;
    link.addEventListener("click", (event) => {
      event.preventDefault();
      const section = byId(link.getAttribute("href").slice(1));
      const details = section.querySelector(":scope > details");
      if (details) details.open = true;
      section.scrollIntoView();
      section.focus({ preventScroll: true });
    });
  }
}

function setUpTheme(redraw) {
  let index = Math.max(
    THEMES.findIndex(([theme]) => theme === loadTheme()),
    0,
  );
  const applyTheme = () => {
    const [theme, title, description] = THEMES[index];
    document.documentElement.dataset.theme = theme;
    byId("theme").textContent = `Colours: ${title.toLowerCase()}`;
    byId("theme").setAttribute("aria-label", `Colours: ${description}`);
  };
  applyTheme();
  byId("theme").addEventListener("click", () => {
    index = (index + 1) % THEMES.length;
    applyTheme();
    try {
      localStorage.setItem("safr-theme", THEMES[index][0]);
    } catch {
      /* The browser forbids it, so the theme lasts as long as the page. */
    }
    redraw();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
}

function loadTheme() {
  try {
    return localStorage.getItem("safr-theme");
  } catch {
    return null;
  }
}
