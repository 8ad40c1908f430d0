// The list of rooms counts what is said meanwhile.

import { live } from "./site.js";

const me = document.body.dataset.user;

function countUp(card) {
  const unread = card.querySelector(".unread");
  const count = unread.querySelector("strong");
  count.textContent = Number(count.textContent) + 1;
  unread.hidden = false;
}

const rooms = document.getElementById("rooms");
for (const card of rooms.querySelectorAll("[data-room]")) {
  const heard = ({ author }) => {
    if (String(author) !== me) {
      countUp(card);
    }
  };
  live.subscribe(`room.${card.dataset.room}`, heard, {
    after: Number(rooms.dataset.position),
    reset: () => window.location.reload(),
  });
}
