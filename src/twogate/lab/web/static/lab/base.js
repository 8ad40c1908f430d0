// What all pages share: orders to the lab, and words for those who listen.

const token = document.querySelector('meta[name="csrf"]').content;
const region = document.getElementById("say");

/**
 * Send an object to the lab and get one back.
 *
 * Throws an Error with a sentence for the learner when the lab refuses or does not answer.
 */
export async function post(url, data, { signal } = {}) {
  let response;
  try {
    response = await fetch(url, {
      method: "POST",
      headers: { "Content-Type": "application/json", "X-CSRFToken": token },
      body: JSON.stringify(data),
      signal,
    });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Error("The lab does not answer. Is twogate lab still running?");
  }
  let answer = null;
  try {
    answer = await response.json();
  } catch {
    // No JSON: a page for an error.
  }
  if (!response.ok || answer === null) {
    throw new Error(answer?.error ?? "That did not work. Load the page again and repeat it.");
  }
  return answer;
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
