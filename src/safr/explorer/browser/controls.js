// What people choose with in, changes of the state out: the controls at the top, the sentence, links and colours.

import { byId, options } from "./elements.js";
import { counted } from "./numbers.js";
import { copyLink } from "./saving.js";
import { contents, rowOf } from "./source.js";
import { address, change, state, whenChanged } from "./state.js";
import { stepTo } from "./what_if.js";

const THEMES = [
  ["", "Auto", "as the system"],
  ["light", "Light", "light"],
  ["dark", "Dark", "dark"],
];
const TYPING_PAUSE = 350;
const MADE = "Superposition-Aware Feature Regularization: Chang, Deng and Chen, Findings of NAACL 2025.";

// `entries` gives the runs that are shown; `redraw` draws all pictures again.
export function setUpControls(names, entries, redraw) {
  byId("about").textContent = [contents.data, names.length > 1 ? counted(names.length, "run") : names[0]]
    .filter(Boolean)
    .join(" · ");
  byId("made").textContent = `SAFR ${contents.version}. ${MADE}`;
  options(
    byId("run"),
    names.map((name) => [name, name]),
    state.run,
  );
  options(byId("beside"), [["", "none"], ...names.map((name) => [name, name])], state.beside);
  for (const id of ["this-run", "other-run"]) byId(id).hidden = names.length < 2;
  byId("run").addEventListener("change", (event) =>
    change({ run: event.target.value, beside: state.beside === event.target.value ? "" : state.beside }),
  );
  byId("beside").addEventListener("change", (event) =>
    change({ beside: event.target.value === state.run ? "" : event.target.value }),
  );
  whenChanged(() => {
    byId("run").value = state.run;
    byId("beside").value = state.beside;
  });
  byId("layer").addEventListener("change", (event) => change({ layer: Number(event.target.value) }));
  byId("measure").addEventListener("change", (event) => change({ measure: event.target.value }));
  byId("lines").addEventListener("input", (event) => change({ lines: Number(event.target.value) }));
  byId("count").addEventListener("input", (event) => stepTo(Number(event.target.value), entries()));
  byId("order").addEventListener("change", (event) => change({ order: event.target.value }));
  byId("restore").addEventListener("click", () => change({ count: 0, without: null }));
  setUpTheme(redraw);
  setUpLinks();
  let width = innerWidth;
  addEventListener("resize", () => {
    if (innerWidth === width) return; // a phone's address bar changes the height alone
    width = innerWidth;
    redraw();
  });
}

function setUpLinks() {
  byId("link").addEventListener("click", async (event) => {
    const button = event.currentTarget;
    if (!(await copyLink(location.href.split("#")[0] + address()))) return;
    button.textContent = "Copied";
    setTimeout(() => {
      button.textContent = "Copy link";
    }, 1500);
  });
  addEventListener("hashchange", () => location.reload());
  // The address behind the # holds the view, so that links within the page must not take its place.
  for (const link of document.querySelectorAll("a[href^='#']")) {
    link.hidden = byId(link.getAttribute("href").slice(1)).hidden;
    link.addEventListener("click", (event) => {
      event.preventDefault();
      const section = byId(link.getAttribute("href").slice(1));
      section.scrollIntoView();
      section.focus({ preventScroll: true });
    });
  }
}

function setUpTheme(redraw) {
  let place = Math.max(
    THEMES.findIndex(([theme]) => theme === remembered()),
    0,
  );
  const put = () => {
    const [theme, name, meaning] = THEMES[place];
    document.documentElement.dataset.theme = theme;
    byId("theme").textContent = `Colours: ${name.toLowerCase()}`;
    byId("theme").setAttribute("aria-label", `Colours: ${meaning}`);
  };
  put();
  byId("theme").addEventListener("click", () => {
    place = (place + 1) % THEMES.length;
    put();
    try {
      localStorage.setItem("safr-theme", THEMES[place][0]);
    } catch {
      /* not allowed here: it lasts as long as the page */
    }
    redraw();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
}

function remembered() {
  try {
    return localStorage.getItem("safr-theme");
  } catch {
    return null;
  }
}

export function setUpSentence() {
  const typed = byId("typed");
  byId("ask").hidden = !contents.live;
  const several = contents.rows.length > 1;
  for (const id of ["previous", "next", "random"]) byId(id).hidden = !several;
  byId("texts").hidden = !several;
  const open = (place) =>
    change({
      text: contents.rows[(place + contents.rows.length) % contents.rows.length].number,
      typed: "",
      word: null,
      count: 0,
      without: null,
    });
  const place = () => contents.rows.findIndex(({ number }) => number === state.text);
  byId("previous").addEventListener("click", () => open(place() - 1));
  byId("next").addEventListener("click", () => open(place() + 1));
  byId("random").addEventListener("click", () => open(Math.floor(Math.random() * contents.rows.length)));
  const put = () => {
    if (document.activeElement !== typed)
      typed.value = state.text === null ? state.typed : (rowOf(state.text)?.text ?? "");
  };
  put();
  let pause = 0;
  whenChanged(() => {
    if (state.text !== null) clearTimeout(pause); // what was being typed has been given up
    put();
  });
  const ask = () => {
    clearTimeout(pause);
    change({ text: null, typed: typed.value, word: null, count: 0, without: null });
  };
  byId("ask").addEventListener("submit", (event) => {
    event.preventDefault();
    ask();
  });
  typed.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
      event.preventDefault();
      ask();
    }
  });
  typed.addEventListener("input", () => {
    clearTimeout(pause);
    if (typed.value.trim()) pause = setTimeout(ask, TYPING_PAUSE);
  });
}
