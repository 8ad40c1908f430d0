// One window of the Live page: hears its room, says something in two ways, rings and streams.

import { connect } from "../../live/live.js";
import { make, post, say as speak } from "./base.js";

const { who, topic, hear, talk, say, ring } = document.body.dataset;
const find = (id) => document.getElementById(id);
const [name, log, bell, trouble] = ["name", "log", "bell", "trouble"].map(find);
const MOST = 100; // messages that are shown

// Hearing: one WebSocket, through Twogate's client.

let connection = null;
let last; // the number of the last message, so that none is lost when the name changes

function enter() {
  connection?.close();
  const address = `${hear}?${new URLSearchParams({ who, name: name.value })}`;
  connection = connect(address, { status: show });
  connection.subscribe(topic, heard, { presence: list, after: last });
  find("title").textContent = name.value;
  document.title = `${name.value}’s window`;
}

function show({ state, via }) {
  const status = find("status");
  status.textContent = state === "online" ? `online by ${via === "websocket" ? "WebSocket" : via}` : state;
  status.classList.toggle("good", state === "online");
}

function list(here) {
  const names = here.map((person) => (person.id === who ? `${person.name} (you)` : person.name));
  find("here").textContent = names.length ? `Here: ${names.sort().join(", ")}` : "Nobody is here.";
}

function heard(data, message) {
  last = message.id;
  const mine = data.who === who;
  if (data.kind === "ring") {
    add(make("p", { class: "rang" }, mine ? "You rang." : `${data.name} rang.`));
    if (!mine) shake(data.name);
    return;
  }
  const way = make("small", {}, `through ${data.way}`);
  add(make("p", mine ? { class: "mine" } : {}, make("b", {}, data.name), ` ${data.text} `, way));
}

function add(line) {
  log.append(line);
  while (log.children.length > MOST) log.firstElementChild.remove();
  toEnd();
}

function toEnd() {
  log.scrollTop = log.scrollHeight;
}
new ResizeObserver(toEnd).observe(log); // a bell or a stream takes room from it

let hide = 0;
function shake(from) {
  bell.textContent = `${from} rings.`;
  bell.hidden = false;
  clearTimeout(hide);
  hide = setTimeout(() => { bell.hidden = true; }, 6000);
}

find("me").addEventListener("submit", (event) => {
  event.preventDefault();
  name.value = name.value.trim();
  if (name.reportValidity()) enter();
});

// Saying: a POST to a sync view, or a message to the consumer's WebSocket.

let socket = null;

function consumer() {
  if (socket?.readyState === WebSocket.OPEN) return Promise.resolve(socket);
  const address = new URL(talk, location.href);
  address.protocol = address.protocol.replace("http", "ws");
  return new Promise((resolve, reject) => {
    socket = new WebSocket(address);
    socket.onopen = () => resolve(socket);
    socket.onclose = ({ reason }) => {
      const error = new Error(reason || "The WebSocket to the consumer was closed.");
      reject(error);
      complain(error);
    };
  });
}

async function attempt(action) {
  trouble.hidden = true;
  try {
    await action();
  } catch (error) {
    complain(error);
  }
}

function complain(error) {
  trouble.textContent = error.message;
  trouble.hidden = false;
}

find("talk").addEventListener("submit", (event) => {
  event.preventDefault();
  const text = find("text");
  const message = { who, name: name.value, text: text.value };
  attempt(async () => {
    if (event.target.elements.way.value === "view") await post(say, message);
    else (await consumer()).send(JSON.stringify(message));
    if (text.value === message.text) text.value = "";
  });
});

find("ring").addEventListener("click", () => attempt(() => post(ring, { who, name: name.value })));

// Streaming: a response that is read piece by piece.

for (const button of document.querySelectorAll("[data-stream]")) {
  button.addEventListener("click", () => attempt(() => stream(button)));
}

async function stream(button) {
  const [bar, told] = find("streaming").children;
  const begun = performance.now();
  const after = () => `${((performance.now() - begun) / 1000).toFixed(1)} s`;
  button.disabled = true;
  find("streaming").hidden = false;
  try {
    bar.value = 0;
    told.textContent = "Asked.";
    for await (const { piece, of, thread } of pieces(await fetch(button.dataset.stream))) {
      bar.max = of;
      bar.value = piece;
      told.textContent = `Piece ${piece} of ${of} came after ${after()}; it was made on ${thread}.`;
    }
    speak(told.textContent);
  } finally {
    button.disabled = false;
  }
}

async function* pieces(response) {
  if (!response.ok) throw new Error(`The stream was refused (${response.status}).`);
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    const lines = (rest + value).split("\n");
    rest = lines.pop();
    for (const line of lines) yield JSON.parse(line);
  }
}

enter();
