// One room. What others do comes by subscription; what this person does goes by the room's socket.

import { catchUp, show, toBottom } from "./messages.js";
import * as outbox from "./outbox.js";
import { showPeople, showTyping, stopTyping } from "./people.js";
import { live, whenOnline } from "./site.js";
import { RoomSocket } from "./socket.js";

const TYPING_SAID_EVERY = 1500;
const READ_SAID_AFTER = 1000;

const me = document.body.dataset.user;
const { room, url, position } = document.getElementById("room").dataset;
const form = document.getElementById("say");
const field = form.elements.text;
const problem = document.getElementById("problem");
const passage = document.getElementById("passage");

const socket = new RoomSocket(`/ws/room/${room}/`, {
  opened: sendAll,
  welcome({ gate, thread, worker }) {
    passage.textContent = `What you say goes through the ${gate} gate, on ${thread} of worker ${worker}.`;
    passage.dataset.worker = worker;
  },
  said(message) {
    outbox.drop(message.nonce);
    show(message.html);
  },
  refused({ nonce, reason }) {
    const text = outbox.takeBack(nonce);
    if (text) {
      problem.textContent = `“${text}” was not sent. ${reason}`;
      field.value ||= text;
    }
  },
  typing({ id, name }) {
    if (String(id) !== me) {
      showTyping(id, name);
    }
  },
});

live.subscribe(
  `room.${room}`,
  ({ author, html }) => {
    show(html);
    stopTyping(author);
    sayRead();
  },
  {
    after: Number(position), // what was said since the page was made
    reset: () => catchUp(url), // away for so long that the server kept no more of it
    denied() {
      problem.textContent = "This room is not open to you any more.";
    },
  },
);
live.subscribe(`here.${room}`, () => {}, { presence: showPeople });

// By the socket or, where the network lets none through, as the form itself would.
async function send(message) {
  if (socket.send(message)) {
    return; // "said" or "refused" is the answer
  }
  const body = new FormData(form);
  body.set("text", message.text);
  body.set("nonce", message.nonce);
  try {
    const response = await fetch(url, { method: "POST", body, redirect: "manual" });
    if (response.type === "opaqueredirect") {
      outbox.drop(message.nonce); // it was saved, and comes by subscription
    }
  } catch {
    // The server is away: sendAll() tries again.
  }
}

function sendAll() {
  outbox.unsent().forEach(send);
}
whenOnline(sendAll);

form.addEventListener("submit", (event) => {
  event.preventDefault();
  const text = field.value.trim();
  if (text) {
    problem.textContent = "";
    field.value = "";
    send(outbox.put(text));
    toBottom();
  }
});

let saidTyping = 0;
field.addEventListener("input", () => {
  if (field.value && Date.now() - saidTyping > TYPING_SAID_EVERY) {
    saidTyping = Date.now();
    socket.send({ kind: "typing" });
  }
});

// What is on the screen counts as read; a burst is told once.
let readTimer = 0;
function sayRead() {
  if (!document.hidden && !readTimer) {
    readTimer = window.setTimeout(() => {
      readTimer = 0;
      socket.send({ kind: "read" });
    }, READ_SAID_AFTER);
  }
}
document.addEventListener("visibilitychange", sayRead);
