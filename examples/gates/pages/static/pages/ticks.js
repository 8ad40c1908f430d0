// Listens to the stream of ticks and draws a bead for each one.
"use strict";

const ticker = document.querySelector(".ticker");
const number = document.getElementById("number");
const beads = document.getElementById("beads");
const status = document.getElementById("status");
const toggle = document.getElementById("toggle");
let source = null;

function drawBeads() {
  beads.replaceChildren();
  for (let i = 0; i < Number(ticker.dataset.count); i += 1) {
    beads.append(document.createElement("li"));
  }
}

function show(tick) {
  const late = Math.max(0, Date.now() - tick.at * 1000);
  number.textContent = tick.number;
  beads.children[tick.number - 1].className = "on";
  // The first and the last tick are announced, the others would only chatter.
  if (tick.number === 1) {
    status.textContent = `Listening through the ${tick.gate} gate; a tick takes ${late.toFixed(0)} ms to get here.`;
  }
}

function stop(text) {
  source.close();
  source = null;
  status.textContent = text;
  toggle.textContent = "Listen again";
}

function listen() {
  drawBeads();
  number.textContent = "0";
  status.textContent = "Waiting for the first tick…";
  toggle.textContent = "Stop";
  source = new EventSource(ticker.dataset.stream);
  source.addEventListener("message", (event) => show(JSON.parse(event.data)));
  source.addEventListener("done", () => stop("That was all of them."));
  source.addEventListener("error", () => stop("The stream was cut."));
}

toggle.addEventListener("click", () => (source ? stop("Stopped.") : listen()));
window.addEventListener("pagehide", () => source && stop("Stopped."));
listen();
