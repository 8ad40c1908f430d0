/**
 * Twogate's browser client: subscribe to topics, through deploys, lost networks and odd proxies.
 *
 *     import { connect } from "…/twogate/live.js";
 *     const live = connect("/live/", { events: "/events/" });
 *     live.subscribe("room.5", (data) => show(data));
 *
 * One connection for all topics: a WebSocket or, where none gets through, Server-Sent Events. After
 * every interruption each topic goes on behind the last message that was delivered, so none is lost
 * and none comes twice. No dependencies; docs/live.md describes the protocol.
 */

/**
 * @typedef {object} Status
 * @property {"connecting" | "online" | "reconnecting" | "offline" | "closed"} state
 *   "offline": the browser says it has no network; it goes on by itself once there is one.
 *   "closed": for good, by close() or because the server refuses.
 * @property {"websocket" | "events"} [via]  When online: by what.
 * @property {number} [seconds]  When reconnecting: until the next attempt.
 * @property {string} [reason]  When closed by the server: why.
 * @property {number} [code]  The close code, or the status of the response.
 */

/**
 * @typedef {object} Message
 * @property {number} id  Its number; later messages have greater ones.
 * @property {string} topic
 * @property {any} data  What was published.
 */

/**
 * @typedef {object} Change
 * @property {any[]} joined
 * @property {any[]} left
 */

/**
 * @typedef {object} SubscribeOptions
 * @property {(here: any[], change: Change) => void} [presence]  Called with everybody who is here,
 *   now and whenever that changes.
 * @property {() => void} [reset]  Messages were missed that the server no longer keeps: load afresh.
 * @property {(reason: string) => void} [denied]  The server does not allow this subscription.
 * @property {number} [after]  Begin behind the message of this number, as far as it is kept; else
 *   with what comes from now on. Counts for the first subscription to a topic.
 */

/**
 * @typedef {object} ConnectOptions
 * @property {string} [events]  Address of the stream of events, for networks without WebSockets.
 * @property {(status: Status) => void} [status]  Called whenever the status changes.
 */

const FIRST_DELAY = 500; // milliseconds; doubled with each failure, and a random part of that taken
const LONGEST_DELAY = 30_000;
const RESTART_SPREAD = 1_500; // a restarted server must not get all its browsers back at once
const STEADY = 5_000; // a connection that lasted so long makes up for the failures before it
const OPENING = 10_000; // some proxies neither open a WebSocket nor refuse it
const QUIET = 30_000; // then we ask whether the server is still there
const ANSWER = 10_000; // then it is not
const SILENT = 45_000; // a stream of events has a sign of life every fifteen seconds
const LOOK = 5_000;
const FAILURES_BEFORE_EVENTS = 3; // where a WebSocket has worked; else one is enough

/** Close codes after which coming back would change nothing (RFC 6455 §7.4; 4400 to 4499 ours). */
const isFinal = (code) =>
  [1003, 1007, 1008, 1009, 1010].includes(code) ||
  (code >= 4400 && code <= 4499 && code !== 4408 && code !== 4429);

/** One topic: who listens, and how far they have heard. */
class Topic {
  constructor(name, after) {
    this.name = name;
    this.listeners = new Set();
    /** The number behind which to go on; null before the server has said where that is. */
    this.position = after ?? null;
    /** The number behind which the server said last that it goes on. */
    this.begun = null;
    /** Everybody who is here, each as JSON; null as long as that is not known. */
    this.here = null;
  }

  get wantsPresence() {
    return [...this.listeners].some((listener) => listener.options.presence);
  }

  tell(option, ...values) {
    for (const listener of [...this.listeners]) {
      if (this.listeners.has(listener)) call(listener.options[option], ...values);
    }
  }

  subscribed(number) {
    this.begun = number;
    // More may have been heard since it was asked.
    this.position = Math.max(this.position ?? number, number);
  }

  reset() {
    this.position = this.begun; // perhaps ours was of another log
    this.tell("reset");
  }

  message(message) {
    if (this.position === null) return; // of a subscription that was given up
    if (message.id <= this.position) return; // heard before
    this.position = message.id;
    for (const listener of [...this.listeners]) {
      if (this.listeners.has(listener)) call(listener.heard, message.data, message);
    }
  }

  presence({ here, joined = [], left = [] }) {
    const before = this.here ?? [];
    const now = here
      ? here.map((each) => JSON.stringify(each))
      : change(before, joined.map(key), left.map(key));
    this.here = now;
    const gone = before.filter((each) => !now.includes(each));
    const come = now.filter((each) => !before.includes(each));
    if (here || gone.length || come.length) {
      this.tell("presence", now.map(parse), { joined: come.map(parse), left: gone.map(parse) });
    }
  }
}

const key = (value) => JSON.stringify(value);
const parse = (text) => JSON.parse(text);
const change = (before, joined, left) => [
  ...before.filter((each) => !left.includes(each) && !joined.includes(each)),
  ...joined,
];

/** Call a project's function; what it throws is its own affair, and told as any other error. */
function call(hook, ...values) {
  try {
    hook?.(...values);
  } catch (error) {
    reportError(error);
  }
}

/** A WebSocket. Both carriers are told of topics and tell the same four things back. */
class Socket {
  constructor(live) {
    this.via = "websocket";
    this.live = live;
    this.opened = false;
    const address = new URL(live.url, location.href);
    address.protocol = address.protocol.replace("http", "ws");
    this.socket = new WebSocket(address);
    this.socket.onopen = () => this.open();
    this.socket.onmessage = ({ data }) => {
      this.heardAt = Date.now();
      this.askedAt = 0;
      live.heard(this, JSON.parse(data));
    };
    this.socket.onclose = ({ code, reason }) => this.over({ code, reason });
    this.timer = setTimeout(() => this.over({ code: 1006 }), OPENING);
  }

  open() {
    this.opened = true;
    clearTimeout(this.timer);
    this.heardAt = Date.now();
    this.askedAt = 0;
    this.timer = setInterval(() => this.look(), LOOK);
    this.live.opened(this);
  }

  /** A connection can be dead without anybody noticing: ask when nothing has come for long. */
  look() {
    if (this.askedAt && Date.now() - this.askedAt > ANSWER) this.over({ code: 1006 });
    else if (Date.now() - this.heardAt > QUIET) this.check();
  }

  /** Ask now: perhaps the network was away, or the page. */
  check() {
    if (!this.opened || this.askedAt) return;
    this.askedAt = Date.now();
    this.send({ type: "ping" });
  }

  subscribe({ name, position, wantsPresence }) {
    const after = position === null ? {} : { after: position };
    this.send({ type: "subscribe", topics: [name], presence: wantsPresence, ...after });
  }

  unsubscribe({ name }) {
    this.send({ type: "unsubscribe", topics: [name] });
  }

  send(message) {
    if (this.socket.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify(message));
  }

  over(end) {
    this.close();
    this.live.ended(this, { opened: this.opened, final: isFinal(end.code), ...end });
  }

  close() {
    clearTimeout(this.timer);
    const { socket } = this;
    socket.onopen = socket.onmessage = socket.onclose = null;
    socket.close();
  }
}

/** Server-Sent Events, read with fetch(): an EventSource would not tell a refusal from a failure. */
class Events {
  constructor(live) {
    this.via = "events";
    this.live = live;
    this.opened = false;
    this.begun = false;
    this.restart();
  }

  /** Topics are part of the address, so a change of them needs a new stream: one for all of them. */
  subscribe() {
    if (this.begun) this.restart();
  }

  unsubscribe() {
    this.subscribe();
  }

  restart() {
    this.begun = false;
    this.stop();
    this.timer = setTimeout(() => this.run(), 0);
  }

  async run() {
    this.begun = true;
    const topics = [...this.live.topics.values()];
    if (!topics.length) return;
    const abort = (this.abort = new AbortController());
    let code = 1006;
    try {
      this.watch(abort);
      const response = await fetch(this.address(topics), {
        signal: abort.signal,
        headers: { Accept: "text/event-stream" },
        cache: "no-store",
      });
      if (!response.ok) {
        const reason = (await response.text()).trim().slice(0, 200);
        return this.refused(response.status, reason, topics);
      }
      if (!response.headers.get("Content-Type")?.startsWith("text/event-stream")) {
        return this.over({ code: response.status, reason: "no stream of events" });
      }
      this.opened = true;
      this.live.opened(this);
      await this.read(response, abort);
      code = 1012; // the server ends a stream when it is restarted
    } catch {
      // The network, or our own abort().
    }
    if (this.abort === abort) this.over({ code });
  }

  address(topics) {
    const address = new URL(this.live.eventsUrl, location.href);
    for (const { name, position } of topics) {
      address.searchParams.append("topic", name);
      address.searchParams.append("after", position ?? "");
    }
    if (topics.some((topic) => topic.wantsPresence)) address.searchParams.set("presence", "1");
    return address;
  }

  async read(response, abort) {
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = "";
    for (;;) {
      const { done, value } = await reader.read();
      if (done || this.abort !== abort) return;
      this.heardAt = Date.now();
      const blocks = (rest + value).split("\n\n");
      rest = blocks.pop();
      for (const block of blocks) this.event(block);
    }
  }

  event(block) {
    const line = block.split("\n").find((each) => each.startsWith("data: "));
    if (line) this.live.heard(this, JSON.parse(line.slice("data: ".length)));
  }

  watch(abort) {
    this.heardAt = Date.now();
    clearInterval(this.watcher);
    this.watcher = setInterval(() => {
      if (Date.now() - this.heardAt > SILENT) abort.abort();
    }, LOOK);
  }

  check() {
    // The next sign of life tells.
    this.heardAt = Math.min(this.heardAt, Date.now() - SILENT + 20_000);
  }

  refused(status, reason, topics) {
    if (status === 403) {
      for (const topic of topics) this.live.heard(this, { type: "denied", topic: topic.name, reason });
    } else {
      const final = status >= 400 && status < 500 && status !== 408 && status !== 429;
      this.over({ code: status, reason, final });
    }
  }

  over(end) {
    this.close();
    this.live.ended(this, { opened: this.opened, final: false, ...end });
  }

  close() {
    this.stop();
  }

  stop() {
    const { abort } = this;
    this.abort = null;
    clearTimeout(this.timer);
    clearInterval(this.watcher);
    abort?.abort();
  }
}

/** A connection to the topics of a site; made by {@link connect}. */
class Live {
  constructor(url, options) {
    this.url = url;
    this.eventsUrl = options.events;
    this.options = options;
    this.topics = new Map();
    /** @type {Status} */
    this.status = { state: "connecting" };
    this.carrier = null;
    this.failures = 0;
    this.refusals = 0; // WebSockets in a row that never opened
    this.hasOpened = false;
    this.openedAt = 0;
    this.retry = 0;
    this.wake = () => this.look();
    addEventListener("online", this.wake);
    addEventListener("offline", this.wake);
    addEventListener("pageshow", this.wake);
    document.addEventListener("visibilitychange", this.wake);
    this.begin(Socket);
  }

  /**
   * Have what is published to a topic.
   *
   * @param {string} topic
   * @param {(data: any, message: Message) => void} heard  Called with each message, once, in order.
   * @param {SubscribeOptions} [options]
   * @returns {() => void} Ends the subscription.
   */
  subscribe(topic, heard, options = {}) {
    const listener = { heard, options };
    const known = this.topics.get(topic);
    const subject = known ?? new Topic(topic, options.after);
    const before = subject.wantsPresence;
    subject.listeners.add(listener);
    this.topics.set(topic, subject);
    if (!known || before !== subject.wantsPresence) this.carrier?.subscribe(subject);
    else if (subject.here && options.presence) {
      call(options.presence, subject.here.map(parse), { joined: [], left: [] });
    }
    return () => this.leave(subject, listener);
  }

  leave(subject, listener) {
    subject.listeners.delete(listener);
    if (!subject.listeners.size && this.topics.get(subject.name) === subject) {
      this.topics.delete(subject.name);
      this.carrier?.unsubscribe(subject);
    }
  }

  /** Close for good. */
  close() {
    this.finish({ state: "closed" });
  }

  // What follows is for the carriers.

  begin(Carrier) {
    clearTimeout(this.retry);
    this.retry = 0;
    this.carrier = new Carrier(this);
  }

  opened(carrier) {
    if (carrier !== this.carrier) return;
    this.openedAt = Date.now();
    if (carrier.via === "websocket") {
      this.refusals = 0;
      this.hasOpened = true;
      for (const topic of this.topics.values()) carrier.subscribe(topic);
    }
    this.tell({ state: "online", via: carrier.via });
  }

  heard(carrier, message) {
    if (carrier !== this.carrier) return;
    const subject = this.topics.get(message.topic);
    switch (message.type) {
      case "message":
        subject?.message(message);
        break;
      case "subscribed":
        for (const [name, position] of Object.entries(message.topics)) {
          this.topics.get(name)?.subscribed(position);
        }
        break;
      case "reset":
        subject?.reset();
        break;
      case "presence":
        subject?.presence(message);
        break;
      case "denied":
        if (subject) {
          this.topics.delete(message.topic);
          subject.tell("denied", message.reason);
        }
        break;
    }
  }

  ended(carrier, { code, reason, final, opened }) {
    if (carrier !== this.carrier) return;
    this.carrier = null;
    if (final) return this.finish({ state: "closed", code, reason });
    if (this.openedAt && Date.now() - this.openedAt > STEADY) this.failures = 0;
    this.openedAt = 0;
    if (carrier.via === "websocket" && !opened) {
      this.refusals += 1;
      if (this.eventsUrl && this.refusals >= (this.hasOpened ? FAILURES_BEFORE_EVENTS : 1)) {
        return this.begin(Events);
      }
    }
    if (!navigator.onLine) return this.tell({ state: "offline" });
    this.later(this.delay(code === 1012 && opened));
  }

  /** Exponential back-off with full jitter; a server that was only restarted is up already. */
  delay(restarted) {
    const most = Math.min(LONGEST_DELAY, FIRST_DELAY * 2 ** this.failures);
    const quick = restarted && !this.failures;
    this.failures += 1;
    return Math.random() * (quick ? RESTART_SPREAD : most);
  }

  later(milliseconds) {
    this.tell({ state: "reconnecting", seconds: milliseconds / 1000 });
    this.retry = setTimeout(() => this.begin(Socket), milliseconds);
  }

  /** The network came or went, or somebody looks at the page again. */
  look() {
    if (this.status.state === "closed" || document.visibilityState === "hidden") return;
    if (this.carrier) {
      this.carrier.check();
    } else if (navigator.onLine) {
      this.begin(Socket);
    } else {
      clearTimeout(this.retry);
      this.retry = 0;
      this.tell({ state: "offline" });
    }
  }

  finish(status) {
    if (this.status.state === "closed") return;
    removeEventListener("online", this.wake);
    removeEventListener("offline", this.wake);
    removeEventListener("pageshow", this.wake);
    document.removeEventListener("visibilitychange", this.wake);
    clearTimeout(this.retry);
    const { carrier } = this;
    this.carrier = null;
    carrier?.close();
    this.tell(status);
  }

  tell(status) {
    this.status = status;
    call(this.options.status, status);
  }
}

/**
 * Connect to a site's topics; the connection is kept up until it is closed.
 *
 * @param {string} url  Address of the WebSocket endpoint, relative or absolute.
 * @param {ConnectOptions} [options]
 * @returns {Live}
 */
export function connect(url, options = {}) {
  return new Live(url, options);
}
