// The list of messages: in the order of their numbers, and each only once, however it came.

const CATCH_UP_AGAIN = 2000;

const scroll = document.getElementById("scroll");
const log = document.getElementById("log");
const newer = document.getElementById("newer");
const me = document.body.dataset.user;

const number = (item) => Number(item.dataset.id);
const isAtBottom = () => scroll.scrollHeight - scroll.scrollTop - scroll.clientHeight < 60;

export function toBottom() {
  scroll.scrollTop = scroll.scrollHeight;
  newer.hidden = true;
}

// What the server cannot know: who is looking, and in which time zone.
function localise(item) {
  item.classList.toggle("mine", item.dataset.author === me);
  const time = item.querySelector("time");
  const sent = new Date(time.dateTime);
  const isToday = sent.toDateString() === new Date().toDateString();
  const day = isToday ? {} : { day: "numeric", month: "short" };
  time.textContent = sent.toLocaleString([], { ...day, hour: "2-digit", minute: "2-digit" });
}

// Insert a message in its place; whether it was new.
function insert(item) {
  const after = [...log.children].findLast((other) => number(other) <= number(item));
  if (after && number(after) === number(item)) {
    return false;
  }
  localise(item);
  if (after) {
    after.after(item);
  } else {
    log.prepend(item);
  }
  return true;
}

// A message as the server drew it; the template has escaped what people wrote.
export function show(html) {
  const template = document.createElement("template");
  template.innerHTML = html.trim();
  const item = template.content.firstElementChild;
  const stay = !isAtBottom() && item.dataset.author !== me;
  if (!insert(item)) {
    return;
  }
  if (stay) {
    newer.hidden = false;
  } else {
    toBottom();
  }
}

async function fetchPage(url) {
  const response = await fetch(url);
  if (!response.ok) {
    throw new Error(`${url} answered ${response.status}`);
  }
  return new DOMParser().parseFromString(await response.text(), "text/html");
}

const messagesOf = (page) => page.querySelectorAll("#log > .message");

// All that came after the last message here, from the room's own pages.
export async function catchUp(roomUrl) {
  try {
    const last = log.lastElementChild;
    let url = `${roomUrl}after/${last ? number(last) : 0}/`;
    while (url) {
      const page = await fetchPage(url);
      messagesOf(page).forEach((item) => show(item.outerHTML));
      url = page.getElementById("later")?.href;
    }
  } catch {
    // What comes from now on is subscribed to, so this is the only gap: try until it is closed.
    window.setTimeout(() => catchUp(roomUrl), CATCH_UP_AGAIN);
  }
}

async function loadEarlier(link) {
  const page = await fetchPage(link.href);
  const height = scroll.scrollHeight;
  scroll.setAttribute("aria-live", "off"); // what is old is not read out
  messagesOf(page).forEach((item) => insert(document.adoptNode(item)));
  const next = page.getElementById("earlier");
  if (next) {
    link.href = next.href;
  } else {
    link.parentElement.remove();
    scroll.focus();
  }
  scroll.scrollTop += scroll.scrollHeight - height; // what was read stays where it is
  scroll.removeAttribute("aria-live");
}

document.getElementById("earlier")?.addEventListener("click", (event) => {
  event.preventDefault();
  const link = event.currentTarget;
  loadEarlier(link).catch(() => window.location.assign(link.href));
});
newer.addEventListener("click", toBottom);
[...log.children].forEach(localise);
toBottom();
