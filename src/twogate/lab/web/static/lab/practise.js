// Makes the forms of Practise smoother: steps that move, a clock that is seen, a proof in place.
// The server decides what is right and what is late.

import { say } from "./base.js";

for (const list of document.querySelectorAll("[data-steps]")) order(list);
for (const clock of document.querySelectorAll("[data-left]")) run(clock);
for (const section of document.querySelectorAll("[data-proof]")) prove(section);
if (document.activeElement === document.body) {
  document.querySelector("[data-focus]")?.focus({ preventScroll: true });
}
openTarget();
addEventListener("hashchange", openTarget);

// Steps to be put in order: buttons and arrow keys move them; their fields follow.

function order(list) {
  for (const select of list.querySelectorAll("select")) select.hidden = true;
  for (const button of list.querySelectorAll("[data-move]")) button.hidden = false;
  list.addEventListener("click", (event) => {
    const button = event.target.closest("[data-move]");
    if (button) move(list, button, Number(button.dataset.move));
  });
  list.addEventListener("keydown", (event) => {
    const by = { ArrowUp: -1, ArrowDown: 1 }[event.key];
    const button = by && event.target.closest("[data-move]");
    if (!button) return;
    event.preventDefault();
    move(list, button, by);
  });
  list.addEventListener("dragstart", (event) => {
    event.target.classList.add("dragged");
    event.dataTransfer.effectAllowed = "move";
  });
  list.addEventListener("dragover", (event) => {
    const dragged = list.querySelector(".dragged");
    const over = event.target.closest("li");
    if (!dragged || !over) return;
    event.preventDefault();
    if (over === dragged) return;
    const later = dragged.compareDocumentPosition(over) & Node.DOCUMENT_POSITION_FOLLOWING;
    if (later) over.after(dragged);
    else over.before(dragged);
  });
  list.addEventListener("dragend", (event) => {
    event.target.classList.remove("dragged");
    number(list);
  });
  for (const item of list.children) item.draggable = true;
  number(list);
}

function move(list, button, by) {
  const item = button.closest("li");
  const other = by < 0 ? item.previousElementSibling : item.nextElementSibling;
  if (!other) return;
  if (by < 0) other.before(item);
  else other.after(item);
  number(list);
  const same = item.querySelector(`[data-move="${by}"]`);
  (same.disabled ? item.querySelector("[data-move]:enabled") : same).focus();
  const place = [...list.children].indexOf(item) + 1;
  say(`${item.querySelector(".step").textContent}: now number ${place} of ${list.children.length}`);
}

function number(list) {
  const items = [...list.children];
  items.forEach((item, index) => {
    item.querySelector("select").value = String(index + 1);
    item.querySelector('[data-move="-1"]').disabled = index === 0;
    item.querySelector('[data-move="1"]').disabled = index === items.length - 1;
  });
}

// The clock of the challenge. At its end what is chosen is sent; the server's clock decides.

function run(clock) {
  const left = Number(clock.dataset.left);
  const limit = Number(clock.dataset.limit);
  const begun = performance.now();
  const shown = clock.querySelector("b");
  const bar = document.createElement("progress");
  bar.max = limit;
  bar.setAttribute("aria-hidden", "true");
  clock.append(bar);
  const said = [10, 5].filter((seconds) => seconds < left);
  const tick = () => {
    const now = Math.max(0, left - (performance.now() - begun) / 1000);
    shown.textContent = Math.ceil(now);
    bar.value = now;
    clock.classList.toggle("short", now <= 10);
    while (said.length && now <= said[0]) say(`${said.shift()} seconds left`);
    if (now > 0) setTimeout(tick, 200);
    else document.getElementById("asked").submit();
  };
  tick();
}

// A proof: its form's answer is a page of its own; here its result is put in place.

function prove(section) {
  const form = section.querySelector("form");
  const button = form.querySelector("button");
  const state = form.querySelector("[data-state]");
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (button.getAttribute("aria-disabled")) return;
    button.setAttribute("aria-disabled", "true");
    state.textContent = "Running now, or waiting for its turn: two proofs run at a time.";
    say("Running the proof");
    try {
      const response = await fetch(form.action, { method: "POST", body: new FormData(form) });
      const page = new DOMParser().parseFromString(await response.text(), "text/html");
      const result = page.querySelector("[data-result]");
      if (!response.ok || !result) throw new Error(page.querySelector("main p")?.textContent);
      section.querySelector("[data-result]").replaceWith(document.adoptNode(result));
      state.textContent = "";
      button.textContent = "Run it again";
      result.focus({ preventScroll: true });
      result.scrollIntoView({ block: "nearest" });
      say("The proof has run");
    } catch (error) {
      const sentence = "The lab does not answer. Is twogate lab still running?";
      state.textContent = (error.name === "Error" && error.message) || sentence;
      say(state.textContent);
    } finally {
      button.removeAttribute("aria-disabled");
    }
  });
}

// An address may name a topic, whose questions are folded.

function openTarget() {
  const target = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (target instanceof HTMLDetailsElement) {
    target.open = true;
    target.scrollIntoView();
  }
}
