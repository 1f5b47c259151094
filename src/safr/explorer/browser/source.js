// Fetches explanations and predictions from the data inside the page, or from the server that sent the page.

import { byId } from "./elements.js";

export const payload = await readPayload();

// Whether the models predict numbers, which are neither right nor wrong and have no probability.
export const isRegression = payload.task === "regression";

const MAX_ANSWERS = 60;
const answers = new Map(); // answers of the server by question, the latest last

// The data inside the page, which a large file holds compressed.
async function readPayload() {
  const { dataset, textContent } = byId("contents");
  if (dataset.encoding !== "gzip") return JSON.parse(textContent);
  const letters = atob(textContent);
  const bytes = new Uint8Array(letters.length); // filled in a loop, which takes a tenth of the time of `from`
  for (let place = 0; place < letters.length; place += 1) bytes[place] = letters.charCodeAt(place);
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(stream).json();
}

export function findRow(number) {
  return payload.rows.find((row) => row.number === number) ?? null;
}

export async function fetchExplanation(run, request, signal) {
  if (!payload.live) return payload.readings[run][request.number];
  return ask("explain", { run, ...request }, signal);
}

export async function fetchWhatIf(run, request, signal) {
  if (!payload.live) return payload.what_ifs[run]?.[request.number] ?? null;
  return ask("what-if", { run, ...request }, signal);
}

export async function fetchPrediction(run, request, deleted, signal) {
  return ask("predict", { run, ...request, deleted }, signal);
}

export async function fetchFlip(run, request, order, signal) {
  return ask("flip", { run, ...request, order }, signal);
}

// Of a live page alone; a file has the neurons in its explanations.
export async function fetchNeurons(run, request, signal) {
  return ask("neurons", { run, ...request }, signal);
}

export async function fetchNeuronsOff(run, request, neurons, signal) {
  return ask("neurons-off", { run, ...request, neurons }, signal);
}

// What a run keeps of a neuron, or null if a file holds nothing of it.
export async function fetchNeuron(run, neuron) {
  if (!payload.live) return payload.neuron_pages[run]?.[neuron] ?? null;
  return readAnswer(await fetch(`api/neurons/${encodeURIComponent(run)}/${neuron}`));
}

// The table of a run's words.
export async function fetchWords(run) {
  if (!payload.live) return payload.words[run];
  return readAnswer(await fetch(`api/words/${encodeURIComponent(run)}`));
}

// Numbers of the texts that hold a word, spelled as in the table; a file knows of its own texts alone.
export async function fetchTextsWithWord(run, word) {
  if (payload.live) {
    const query = new URLSearchParams({ word });
    return readAnswer(await fetch(`api/words/${encodeURIComponent(run)}/texts?${query}`));
  }
  const spell = payload.words[run].is_lower ? (text) => text.toLowerCase() : (text) => text;
  return payload.rows
    .map(({ number }) => number)
    .filter((number) => payload.readings[run][number].words.some((text) => spell(text) === word));
}

export async function fetchEffects(signal) {
  return readAnswer(await fetch("api/effects", { signal }));
}

async function ask(operation, request, signal) {
  const text = request.text?.toWellFormed(); // half a character can't stand in JSON
  const key = `${operation} ${JSON.stringify({ ...request, text })}`;
  const cachedAnswer = answers.get(key);
  if (cachedAnswer) return cachedAnswer;
  const options = {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: key.slice(operation.length + 1),
    signal,
  };
  const answer = await readAnswer(await fetch(`api/${operation}`, options));
  answers.set(key, answer);
  if (answers.size > MAX_ANSWERS) answers.delete(answers.keys().next().value);
  return answer;
}

async function readAnswer(response) {
  const answer = await response.json().catch(() => null);
  if (!response.ok) throw new Error(answer?.error ?? `the server answered ${response.status}; see its terminal`);
  return answer;
}
