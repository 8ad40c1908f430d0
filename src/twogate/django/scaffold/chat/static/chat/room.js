// The WebSocket has the page's own path. When it closes, it is opened again after a while.
const form = document.getElementById("say");
const messages = document.getElementById("messages");
const address = new URL(location.pathname, location.href);
address.protocol = address.protocol.replace("http", "ws");
let socket;

function connect() {
  socket = new WebSocket(address);
  socket.addEventListener("message", (event) => {
    const line = document.createElement("li");
    line.textContent = JSON.parse(event.data).text;
    messages.append(line);
  });
  socket.addEventListener("close", () => setTimeout(connect, 1000 + Math.random() * 2000));
}

connect();
form.addEventListener("submit", (event) => {
  event.preventDefault();
  if (socket.readyState !== WebSocket.OPEN) return;
  socket.send(JSON.stringify({ text: form.elements.text.value }));
  form.reset();
});
