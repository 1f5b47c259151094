// What a model says with words missing in, a sentence to delete words from and the curve of its prediction out.

import { byId, element, options } from "./elements.js";
import { counted, percent, shown } from "./numbers.js";
import { chart } from "./curves.js";
import { panel, unitsWide } from "./pictures.js";
import { MEASURES } from "./readings.js";
import { wordLines } from "./sentence.js";
import { contents, predictionWithout } from "./source.js";
import { change, state } from "./state.js";

const WAITING = "…";
let asked = null; // the question to the server that is under way

export function drawWhatIf(section, entries, request) {
  const container = section.querySelector(".panels");
  const several = entries.length > 1;
  const first = entries.find((entry) => entry.whatIf)?.whatIf;
  section.hidden = !first && !contents.live; // a notebook's page has no model to ask
  if (!first) return; // a server is still at it
  const names = [...new Set(entries.flatMap(({ whatIf }) => Object.keys(whatIf?.orders ?? {})))];
  if (!names.includes(state.order)) state.order = "capacity";
  options(
    byId("order"),
    names.map((name) => [name, MEASURES[name].toLowerCase()]),
    state.order,
  );
  byId("order").disabled = names.length < 2;
  const step = nearest(first.counts, state.count);
  const slider = byId("count");
  slider.max = first.counts.length - 1;
  slider.value = state.without ? 0 : step;
  const words = entries[0].reading.words.length;
  const count = state.without ? state.without.size : first.counts[step];
  const asSrs = count === first.main && !state.without && state.order === "capacity";
  const mark = asSrs ? ", as SRS(30) does" : "";
  byId("count-said").textContent = `${count} of ${counted(words, "word")}${mark}`;
  slider.setAttribute("aria-valuetext", byId("count-said").textContent);
  byId("restore").disabled = count === 0;
  asked?.abort();
  asked = new AbortController();
  container.replaceChildren(...entries.map((entry) => whatIfPanel(entry, several, container, request)));
}

export function stepTo(step, entries) {
  const counts = entries.find((entry) => entry.whatIf)?.whatIf.counts ?? [0];
  change({ count: counts[step], without: null });
}

function whatIfPanel(entry, several, container, request) {
  const { whatIf, reading } = entry;
  const order = whatIf.orders[state.order];
  if (!order)
    return panel({
      entry,
      what: "What if",
      several,
      body: element("p", { class: "none" }, "This run has no VMASK, and so no keep probability."),
    });
  const step = nearest(whatIf.counts, state.count);
  const deleted = state.without ?? new Set(order.slice(0, whatIf.counts[step]));
  const said = element("p", { class: "predicted" });
  tell(said, entry, deleted, step, request).then(announce);
  const lines = wordLines(reading.words, reading.text_of_word, (word, number) =>
    element(
      "button",
      {
        type: "button",
        class: "word",
        "aria-pressed": String(deleted.has(number)),
        "data-number": number,
        click: () => toggle(number, deleted, entry),
      },
      element("bdi", {}, shown(word)),
    ),
  );
  const wide = unitsWide(container) / (several && innerWidth > 900 ? 2 : 1) - 24;
  const picture = curve(whatIf, step, wide);
  return panel({
    entry,
    what: "What if",
    several,
    body: element("div", {}, lines, said, picture),
    note: "At random: the mean, the lowest and the highest of 5 orders.",
    picture: () => picture,
    rows: () => [
      [
        "words deleted",
        ...Object.keys(whatIf.orders).flatMap((name) => [`probability by ${name}`, `prediction by ${name}`]),
        "random mean",
        "random lowest",
        "random highest",
      ],
      ...whatIf.counts.map((count, place) => [
        count,
        ...Object.keys(whatIf.orders).flatMap((name) => [
          whatIf.probability[name][place],
          whatIf.predictions[name][place],
        ]),
        whatIf.random[place],
        whatIf.random_low[place],
        whatIf.random_high[place],
      ]),
    ],
  });
}

function toggle(number, deleted, entry) {
  const next = new Set(deleted);
  if (!next.delete(number)) next.add(number);
  if (next.size >= entry.reading.words.length) return; // a word always stays
  const run = entry.number;
  change({ without: next.size ? next : null, count: next.size ? state.count : 0 });
  document.querySelector(`#what-if .panel[data-run="${run}"] [data-number="${number}"]`)?.focus();
}

function curve(whatIf, step, wide) {
  const lines = [
    {
      key: "at random",
      look: "random",
      x: whatIf.counts,
      y: whatIf.random,
      low: whatIf.random_low,
      high: whatIf.random_high,
    },
    {
      key: `by ${MEASURES[state.order].toLowerCase()}`,
      look: "by",
      x: whatIf.counts,
      y: whatIf.probability[state.order],
    },
  ];
  const said =
    `Probability of ${shown(whatIf.followed)} as words are deleted: by ${state.order} it goes from ` +
    `${percent(lines[1].y[0])} to ${percent(lines[1].y.at(-1))}, at random to ${percent(lines[0].y.at(-1))}`;
  const at = state.without ? null : whatIf.counts[step];
  return chart({
    lines,
    width: Math.min(wide, 720),
    height: 230,
    said,
    across: "words deleted",
    up: `probability of ${shown(whatIf.followed)}`,
    written: (value) => percent(value),
    from: 0,
    to: 1,
    at,
  });
}

async function tell(line, entry, deleted, step, request) {
  const { whatIf, run } = entry;
  const whole = whatIf.probability.capacity[0];
  if (!state.without) {
    const [prediction, share] = [whatIf.predictions[state.order][step], whatIf.probability[state.order][step]];
    const [mean, low, high] = [whatIf.random, whatIf.random_low, whatIf.random_high].map((each) => percent(each[step]));
    outcome(line, whatIf, prediction, share, step ? `; at random ${mean} on average (${low} to ${high})` : "");
    return;
  }
  if (contents.live) {
    const mine = asked;
    line.textContent = WAITING;
    try {
      const found = await predictionWithout(
        run,
        request,
        [...deleted].sort((one, other) => one - other),
        mine.signal,
      );
      outcome(line, whatIf, found.prediction, found.followed, "");
    } catch (error) {
      if (!mine.signal.aborted) line.textContent = error.message;
    }
    return;
  }
  const [only] = deleted;
  const prefix = Object.entries(whatIf.orders).find(
    ([, order]) =>
      whatIf.counts.includes(deleted.size) && order.slice(0, deleted.size).every((word) => deleted.has(word)),
  );
  if (deleted.size === 1 && whatIf.alone) {
    line.replaceChildren(
      `Without this word the probability of `,
      element("b", {}, shown(whatIf.followed)),
      ` is ${percent(whatIf.alone[only], 1)}, with all words ${percent(whole, 1)}.`,
    );
  } else if (prefix) {
    const place = whatIf.counts.indexOf(deleted.size);
    outcome(line, whatIf, whatIf.predictions[prefix[0]][place], whatIf.probability[prefix[0]][place], "");
  } else {
    line.textContent =
      "This file holds the slider's steps and single words; `safr explore` without --export answers any choice.";
  }
}

// The panels are made anew each time, so a screen reader is told by a line that stays.
function announce() {
  const lines = [...document.querySelectorAll("#what-if .predicted")].map((line) => line.textContent);
  if (!lines.includes(WAITING)) byId("told").textContent = lines.join("; ");
}

function outcome(line, whatIf, prediction, share, random) {
  const changed = prediction !== whatIf.followed;
  const whole = whatIf.probability.capacity[0];
  if (share === whole && !random) {
    line.replaceChildren("predicted ", element("b", {}, shown(prediction)), `; probability ${percent(share, 1)}`);
    return;
  }
  line.replaceChildren(
    "now predicted ",
    element("b", { class: changed ? "wrong" : "" }, shown(prediction)),
    changed ? " (changed)" : "",
    `; probability of ${shown(whatIf.followed)} ${percent(share, 1)}, with all words ${percent(whole, 1)}${random}`,
  );
}

function nearest(counts, wanted) {
  let best = 0;
  counts.forEach((count, place) => {
    if (Math.abs(count - wanted) < Math.abs(counts[best] - wanted)) best = place;
  });
  return best;
}
