// The Live page: the list of what was recorded, asked for while it is seen, and what it answers.

import { make } from "./base.js";

const list = document.getElementById("traces");
const state = document.getElementById("state");
const pause = document.getElementById("pause");
const PERIOD = 1000; // milliseconds between two questions

/** What is shown of each request: its element, and what that was made of. */
const shown = new Map();

function show(rows) {
  const ids = new Set(rows.map((row) => row.id));
  for (const [id, { element }] of shown) {
    if (!ids.has(id)) {
      element.remove();
      shown.delete(id);
    }
  }
  rows.forEach((row, place) => {
    const element = keep(row);
    if (list.children[place] !== element) list.insertBefore(element, list.children[place] ?? null);
  });
  for (const card of document.querySelectorAll("[data-path]")) answer(card, rows);
}

/** The element of a row; one that is there is changed only if the row has changed. */
function keep(row) {
  const made = JSON.stringify(row);
  const known = shown.get(row.id);
  if (known?.made === made) return known.element;
  const element = known?.element ?? make("li", { class: "card" });
  const focused = element.contains(document.activeElement);
  element.replaceChildren(...parts(row));
  if (focused) element.querySelector("a").focus();
  shown.set(row.id, { element, made });
  return element;
}

function parts(row) {
  const gateway = row.gateway.toUpperCase();
  const crossings = row.crossings === 1 ? "1 crossing" : `${row.crossings} crossings`;
  const facts = [row.status, row.open ? "still open" : length(row.ms), crossings, time(row.at)];
  const hidden = make("span", { class: "sr-only" }, ` of ${row.method} ${row.path}, in a new tab`);
  const address = `${list.dataset.url}${row.id}/`;
  return [
    make(
      "p",
      { class: "row" },
      make("span", { class: `tag ${row.gateway}` }, gateway),
      make("b", {}, `${row.method} ${row.path}`),
      make("span", { class: "muted" }, facts.join(" · ")),
    ),
    make("p", {}, row.tell.join(" ")),
    make(
      "p",
      { class: "row" },
      make("span", { class: "muted" }, `Why ${gateway}: ${row.reason}.`),
      make("a", { href: address, target: "_blank", rel: "noopener" }, "Timeline", hidden),
    ),
  ];
}

const time = (seconds) => new Date(seconds * 1000).toLocaleTimeString();
const length = (ms) => (ms < 1000 ? `${ms.toFixed(1)} ms` : `${(ms / 1000).toFixed(1)} s`);

/** What the last request to a path showed, on the card that asks for it. */
function answer(card, rows) {
  const row = rows.find((each) => each.path === card.dataset.path);
  const place = card.querySelector(".answer");
  const text = row ? row.tell.join(" ") : "";
  if (place.textContent !== text) place.textContent = text;
  place.hidden = !text;
}

async function ask() {
  try {
    const response = await fetch(list.dataset.url);
    if (!response.ok) throw new Error(response.status);
    const { rows } = await response.json();
    show(rows);
    tell(rows.length ? `The last ${rows.length} requests, newest first.` : "Waiting for requests.");
  } catch {
    tell("The lab does not answer; trying again.");
  }
}

function tell(text) {
  if (state.textContent !== text) state.textContent = text;
}

async function keepAsking() {
  for (;;) {
    if (!document.hidden && pause.getAttribute("aria-pressed") === "false") await ask();
    await new Promise((resolve) => setTimeout(resolve, PERIOD));
  }
}

pause.addEventListener("click", () => {
  pause.setAttribute("aria-pressed", pause.getAttribute("aria-pressed") === "false");
});
keepAsking();
