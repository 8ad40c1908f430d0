// Sends what is typed to the WebSocket at /echo/ and shows what comes back.
const form = document.getElementById("echo");
const heard = document.getElementById("heard");
const address = new URL("/echo/", location.href);
address.protocol = address.protocol.replace("http", "ws");
const socket = new WebSocket(address);

function show(text) {
  const line = document.createElement("li");
  line.textContent = text;
  heard.append(line);
}

socket.addEventListener("message", (event) => show(event.data));
socket.addEventListener("close", () => show("The connection is closed; load the page again."));
form.addEventListener("submit", (event) => {
  event.preventDefault();
  socket.send(form.elements.text.value);
  form.reset();
});
