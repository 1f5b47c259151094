// A run and a text in, its reading out: from inside the page, or from the server that brought it.

import { byId } from "./elements.js";

export const contents = JSON.parse(byId("contents").textContent);

const answered = new Map(); // what the server said, the latest first
const KEPT = 60;

export function rowOf(number) {
  return contents.rows.find((row) => row.number === number) ?? null;
}

export async function readingOf(run, request, signal) {
  if (!contents.live) return contents.readings[run][request.number];
  return ask("explain", { run, ...request }, signal);
}

export async function whatIfOf(run, request, signal) {
  if (!contents.live) return contents.what_ifs[run]?.[request.number] ?? null;
  return ask("what-if", { run, ...request }, signal);
}

export async function predictionWithout(run, request, deleted, signal) {
  return ask("predict", { run, ...request, deleted }, signal);
}

export async function effectsOf(signal) {
  return answer(await fetch("api/effects", { signal }));
}

async function ask(what, request, signal) {
  const text = request.text?.toWellFormed(); // half a character is no JSON
  const key = `${what} ${JSON.stringify({ ...request, text })}`;
  const known = answered.get(key);
  if (known) return known;
  const sent = {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: key.slice(what.length + 1),
    signal,
  };
  const found = await answer(await fetch(`api/${what}`, sent));
  answered.set(key, found);
  if (answered.size > KEPT) answered.delete(answered.keys().next().value);
  return found;
}

async function answer(response) {
  const found = await response.json().catch(() => null);
  if (!response.ok) throw new Error(found?.error ?? `the server answered ${response.status}; look at where it runs`);
  return found;
}
