// What all pages share: orders to the lab, and words for those who listen.

const token = document.querySelector('meta[name="csrf"]').content;
const region = document.getElementById("say");

/**
 * Send an object to the lab and get one back.
 *
 * Throws an Error with a sentence for the learner when the lab refuses or does not answer.
 */
export async function post(url, data, { signal } = {}) {
  const response = await send(url, data, signal);
  const answer = await read(response);
  if (answer === null) throw new Error(SORRY);
  return answer;
}

/**
 * Send an object and hand each object that comes back, one to a line, to a function.
 *
 * Throws as post does.
 */
export async function follow(url, data, take, { signal } = {}) {
  const response = await send(url, data, signal);
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read().catch(rethrow);
    if (done) return;
    const lines = (rest + value).split("\n");
    rest = lines.pop();
    for (const line of lines) take(JSON.parse(line));
  }
}

const SORRY = "That did not work. Load the page again and repeat it.";

async function send(url, data, signal) {
  const headers = { "Content-Type": "application/json", "X-CSRFToken": token };
  const order = { method: "POST", headers, body: JSON.stringify(data), signal };
  const response = await fetch(url, order).catch(rethrow);
  if (!response.ok) throw new Error((await read(response))?.error ?? SORRY);
  return response;
}

function rethrow(error) {
  if (error.name === "AbortError") throw error;
  throw new Error("The lab does not answer. Is twogate lab still running?");
}

/** The JSON of a response; null for a page, such as those for errors. */
async function read(response) {
  return response.json().catch(() => null);
}

/** Say something to screen readers, without moving the focus. */
export function say(text) {
  region.textContent = "";
  requestAnimationFrame(() => {
    region.textContent = text;
  });
}

/** Microseconds in words, as the trace pages write them. */
export function duration(microseconds) {
  if (microseconds < 1000) return `${Math.round(microseconds)} µs`;
  if (microseconds < 1e6) return `${(microseconds / 1000).toFixed(microseconds < 1e4 ? 2 : 1)} ms`;
  return `${(microseconds / 1e6).toFixed(2)} s`;
}

/** Whether the learner asked for less motion. */
export const calm = matchMedia("(prefers-reduced-motion: reduce)");

/** An element with attributes and children; `on…` attributes are listeners. */
export function make(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (value === true) element.setAttribute(key, "");
    else if (value !== false && value != null) element.setAttribute(key, value);
  }
  element.append(...children.filter((child) => child != null));
  return element;
}
