// One room: a WebSocket, a log, a form. Reconnects by itself, slower each time.
"use strict";

const FIRST_WAIT = 500;
const LONGEST_WAIT = 15000;
const LONGEST_LOG = 200;

const log = document.getElementById("log");
const status = document.getElementById("status");
const form = document.getElementById("say");
const nameField = document.getElementById("name");
const textField = document.getElementById("text");
const send = document.getElementById("send");
const path = document.querySelector(".chat").dataset.socket;
let socket = null;
let wait = FIRST_WAIT;

function setStatus(state, text) {
  status.dataset.state = state;
  status.textContent = text;
  send.disabled = state !== "open";
}

function addMessage({ name, text }) {
  const line = document.createElement("li");
  const who = document.createElement("strong");
  const what = document.createElement("span");
  who.textContent = name;
  what.textContent = text;
  line.append(who, what);
  log.querySelector(".empty")?.remove();
  log.append(line);
  if (log.children.length > LONGEST_LOG) {
    log.firstElementChild.remove();
  }
  log.scrollTop = log.scrollHeight;
}

const handlers = {
  welcome({ scope, version, thread }) {
    document.getElementById("passage").textContent =
      `The messages came in through the ASGI gate: a “${scope}” scope (version ${version}), on ${thread}.`;
  },
  present({ count }) {
    setStatus("open", count === 1 ? "You are alone here" : `${count} people here`);
  },
  message: addMessage,
};

function connect() {
  setStatus("waiting", "Connecting…");
  const scheme = window.location.protocol === "https:" ? "wss" : "ws";
  socket = new WebSocket(`${scheme}://${window.location.host}${path}`);
  socket.addEventListener("open", () => {
    wait = FIRST_WAIT;
  });
  socket.addEventListener("message", (event) => {
    const message = JSON.parse(event.data);
    handlers[message.kind]?.(message);
  });
  socket.addEventListener("close", () => {
    setStatus("waiting", `Lost the connection, trying again in ${Math.ceil(wait / 1000)} s`);
    window.setTimeout(connect, wait);
    wait = Math.min(wait * 2, LONGEST_WAIT);
  });
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  socket.send(JSON.stringify({ name: nameField.value, text: textField.value }));
  textField.value = "";
  textField.focus();
});

nameField.value = window.localStorage.getItem("name") ?? "";
nameField.addEventListener("change", () => window.localStorage.setItem("name", nameField.value));
connect();
