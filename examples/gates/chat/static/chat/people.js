// Who is here, and who is typing.

const SHOWN_FOR = 3000;

const people = document.getElementById("people");
const status = document.getElementById("status");
const typing = document.getElementById("typing");
const typists = new Map();

export function showPeople(present) {
  people.replaceChildren(
    ...present.map(({ name, worker }) => {
      const item = document.createElement("li");
      item.dataset.worker = worker;
      item.title = `connected to worker ${worker}`;
      item.textContent = name;
      return item;
    }),
  );
  status.dataset.state = "open";
  status.textContent = present.length < 2 ? "You are alone here" : `${present.length} people here`;
}

function showTypists() {
  const names = [...typists.values()].map(({ name }) => name);
  const verb = names.length === 1 ? "is" : "are";
  typing.textContent = names.length ? `${names.join(", ")} ${verb} typing…` : "";
}

export function showTyping(id, name) {
  window.clearTimeout(typists.get(id)?.timer);
  typists.set(id, { name, timer: window.setTimeout(() => stopTyping(id), SHOWN_FOR) });
  showTypists();
}

export function stopTyping(id) {
  window.clearTimeout(typists.get(id)?.timer);
  typists.delete(id);
  showTypists();
}
