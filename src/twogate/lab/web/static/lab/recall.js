// Keys for the cards, and points that are kept as soon as they are ticked.

import { say } from "./base.js";

const card = document.querySelector("[data-card]");
if (card) review(card);
const points = document.querySelector("[data-points]");
if (points) keep(points);

function review(details) {
  if (document.activeElement === document.body) document.querySelector("[data-focus]").focus();
  const buttons = [...details.querySelectorAll("button")];
  let rated = false;
  details.querySelector("form").addEventListener("submit", (event) => {
    if (rated) event.preventDefault();
    rated = true;
  });
  details.addEventListener("toggle", () => {
    if (details.open) details.querySelector(".answer").focus();
  });
  addEventListener("keydown", (event) => {
    if (event.repeat || event.ctrlKey || event.metaKey || event.altKey) return;
    const elsewhere = event.target.closest("a, button, summary");
    if (event.key === " " && !elsewhere) {
      event.preventDefault();
      details.open = !details.open;
    } else if (details.open && buttons[event.key - 1]) {
      buttons[event.key - 1].click();
    }
  });
  // The browser brings a page back as it was left, button pressed.
  addEventListener("pageshow", (event) => {
    if (event.persisted) location.reload();
  });
}

function keep(form) {
  const state = form.querySelector("[data-state]");
  form.querySelector("button").hidden = true;
  form.addEventListener("change", async () => {
    const count = form.querySelectorAll(":checked").length;
    const all = form.querySelectorAll("[type=checkbox]").length;
    let sentence = `${count} of ${all} points, kept.`;
    try {
      const response = await fetch(form.action, { method: "POST", body: new FormData(form) });
      if (!response.ok) throw new Error();
    } catch {
      sentence = "This could not be kept. Is twogate lab still running?";
    }
    state.textContent = sentence;
    say(sentence);
  });
}
