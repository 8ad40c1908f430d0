// The room's own WebSocket, which comes back by itself, later each time, but not all at once.

const FIRST_WAIT = 500;
const LONGEST_WAIT = 15000;
const ENDED = 1008; // the session is over; to come back would change nothing

export class RoomSocket {
  #url;
  #handlers;
  #socket;
  #wait = FIRST_WAIT;

  // handlers: one for each "kind" of message, and "opened".
  constructor(path, handlers) {
    this.#url = new URL(path, window.location.href);
    this.#url.protocol = this.#url.protocol.replace("http", "ws");
    this.#handlers = handlers;
    this.#connect();
  }

  // Whether it left; what must not get lost is sent again by "opened".
  send(message) {
    const isOpen = this.#socket.readyState === WebSocket.OPEN;
    if (isOpen) {
      this.#socket.send(JSON.stringify(message));
    }
    return isOpen;
  }

  #connect() {
    this.#socket = new WebSocket(this.#url);
    this.#socket.addEventListener("open", () => {
      this.#wait = FIRST_WAIT;
      this.#handlers.opened();
    });
    this.#socket.addEventListener("message", ({ data }) => {
      const message = JSON.parse(data);
      this.#handlers[message.kind]?.(message);
    });
    this.#socket.addEventListener("close", ({ code }) => {
      if (code === ENDED) {
        return;
      }
      window.setTimeout(() => this.#connect(), this.#wait * (0.5 + Math.random()));
      this.#wait = Math.min(this.#wait * 2, LONGEST_WAIT);
    });
  }
}
