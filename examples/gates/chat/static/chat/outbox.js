// What was written and is not yet known to be saved. It is sent again after each reconnect; the
// server knows the nonce of a message it has, so nothing is said twice.

const list = document.getElementById("outbox");
const waiting = new Map();

// 128 random bits; crypto.randomUUID() is not there on a plain http:// address.
function newNonce() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

export function put(text) {
  const message = { kind: "say", nonce: newNonce(), text };
  const item = document.createElement("li");
  item.textContent = text;
  list.append(item);
  waiting.set(message.nonce, { message, item });
  return message;
}

export const unsent = () => [...waiting.values()].map(({ message }) => message);

export function drop(nonce) {
  waiting.get(nonce)?.item.remove();
  waiting.delete(nonce);
}

// Take a message back; its text.
export function takeBack(nonce) {
  const text = waiting.get(nonce)?.message.text ?? "";
  drop(nonce);
  return text;
}
