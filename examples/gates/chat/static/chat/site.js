// On every page of somebody who is logged in: one live connection, notifications, and a word when
// the connection is lost.

import { connect } from "../twogate/live.js";

const me = document.body.dataset.user;
const toasts = document.getElementById("toasts");
const lost = document.getElementById("lost");
const [lostMessage, lostCountdown] = lost.children;

const online = [];
export const whenOnline = (callback) => online.push(callback);

export const live = connect("/live/", { events: "/events/", status: showStatus });
live.subscribe(`user.${me}`, ({ text }) => toast(text));

function toast(text) {
  const item = document.createElement("div");
  const words = document.createElement("p");
  const close = document.createElement("button");
  words.textContent = text;
  close.type = "button";
  close.className = "quiet";
  close.textContent = "Dismiss";
  close.addEventListener("click", () => item.remove());
  item.append(words, close);
  toasts.append(item);
}

// A deploy takes a second, of which nobody need hear; what lasts longer is told, with a countdown.
const NOT_WORTH_TELLING = 2500;
const SENTENCES = {
  connecting: "Connecting…",
  reconnecting: "The connection was lost.",
  offline: "You are offline. It goes on by itself once the network is back.",
  closed: "The server has ended this connection. Load the page again.",
};
let lostAt = 0;
let countdown = 0;

function showStatus({ state, seconds }) {
  window.clearInterval(countdown);
  if (state === "online") {
    lostAt = 0;
    lost.hidden = true;
    online.forEach((callback) => callback());
    return;
  }
  lostAt ||= Date.now();
  lostMessage.textContent = SENTENCES[state];
  const until = Date.now() + (seconds ?? 0) * 1000;
  const tick = () => {
    const left = Math.ceil((until - Date.now()) / 1000);
    lostCountdown.textContent = left > 0 ? `Trying again in ${left} s…` : "";
    lost.hidden = Date.now() - lostAt < NOT_WORTH_TELLING;
  };
  tick();
  countdown = window.setInterval(tick, 250);
}
