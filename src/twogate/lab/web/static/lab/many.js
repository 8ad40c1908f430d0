// Many at once: choose, run, and see who waited for whom.

import { calm, follow, make, say } from "./base.js";

const SVG = "http://www.w3.org/2000/svg";
const GATEWAYS = ["wsgi", "asgi"];
const form = document.getElementById("choose");
const $ = (id) => document.getElementById(id);
const given = (id) => JSON.parse($(id).textContent);
const works = given("works");
const views = given("views");

// Choosing.

function chosen() {
  const data = new FormData(form);
  const number = (name) => (data.get(name) === "" ? null : Number(data.get(name)));
  return {
    clients: number("clients"),
    work: data.get("work"),
    milliseconds: number("milliseconds"),
    is_async: data.get("kind") === "async",
    threads: number("threads"),
  };
}

function choose(values) {
  const { clients, work, milliseconds, is_async, threads } = values;
  form.elements.work.value = work;
  form.elements.kind.value = is_async ? "async" : "sync";
  bound(work);
  for (const [name, value] of Object.entries({ clients, milliseconds, threads })) {
    form.elements[name].value = value;
  }
  changed();
}

/** How long a view may compute is less than how long it may wait. */
function bound(work) {
  for (const input of [$("milliseconds"), slider("milliseconds")]) input.max = works[work];
  if (Number($("milliseconds").value) > works[work]) $("milliseconds").value = works[work];
}

const slider = (name) => form.querySelector(`[data-of="${name}"]`);

/** Whatever depends on what is chosen. */
function changed() {
  const now = chosen();
  for (const name of ["clients", "milliseconds", "threads"]) {
    slider(name).value = form.elements[name].value;
  }
  $("does").textContent = now.work === "wait" ? "waits" : "computes";
  $("code").textContent = views[`${now.is_async ? "async" : "sync"} ${now.work}`];
  for (const button of form.querySelectorAll("[data-values]")) {
    const values = JSON.parse(button.dataset.values);
    const same = Object.keys(values).every((key) => values[key] === now[key]);
    button.setAttribute("aria-pressed", String(same));
  }
}

form.addEventListener("input", (event) => {
  const of = event.target.dataset.of;
  if (of) form.elements[of].value = event.target.value;
  if (event.target.name === "work") bound(event.target.value);
  changed();
});
for (const button of form.querySelectorAll("[data-values]")) {
  button.addEventListener("click", () => choose(JSON.parse(button.dataset.values)));
}

// Running.

let stop = null;

async function run(sweep) {
  if (stop !== null) return;
  stop = new AbortController();
  busy(true);
  tell("The clients get ready…");
  try {
    const order = { ...chosen(), sweep };
    const { signal } = stop;
    let end = null;
    await follow(form.dataset.run, order, (news) => (end = hear(news)), { signal });
    if (end === null) throw new Error("The lab has ended before the experiment. Start it again.");
    await (sweep ? showSweep(end) : show(end));
    tell("");
  } catch (error) {
    tell(error.name === "AbortError" ? "Stopped." : "");
    if (error.name !== "AbortError") complain(error.message);
  } finally {
    stop = null;
    busy(false);
  }
}

/** One line of news; returns it when it is the last. */
function hear(news) {
  if (news.state === "waiting") {
    const before = news.place === 1 ? "one experiment is" : `${news.place} experiments are`;
    tell(`Other learners are measuring: ${before} before yours.`);
  } else if (news.state === "running") {
    tell(`${news.what}…`);
    $("bar").firstElementChild.style.width = `${(100 * (news.done + 0.5)) / news.of}%`;
  } else if (news.state === "failed") {
    throw new Error(news.error);
  }
  return news.state === "done" ? news : null;
}

function busy(is) {
  // Not disabled: the keyboard's focus stays where it is.
  for (const id of ["run", "sweep"]) $(id).setAttribute("aria-disabled", String(is));
  if (document.activeElement === $("stop")) $("run").focus();
  $("stop").hidden = $("bar").hidden = !is;
  $("bar").firstElementChild.style.width = "0";
  if (is) complain("");
}

function tell(text) {
  $("news").textContent = text;
}

function complain(text) {
  $("trouble").hidden = !text;
  $("trouble").textContent = text;
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  run(false);
});
$("sweep").addEventListener("click", () => {
  if (form.reportValidity()) run(true);
});
$("stop").addEventListener("click", () => stop?.abort());

// Who waited for whom.

/** What is shown now: the result, and where its rows are drawn. */
let shown = null;

function show({ result, shows }) {
  shown = { result, rows: {} };
  const [verdict, ...rest] = shows.sentences;
  $("verdict").className = `notice verdict ${shows.better}`;
  $("verdict").textContent = verdict;
  $("shows").replaceChildren(...rest.map((sentence) => make("li", {}, sentence)));
  $("result").hidden = false;
  const { clients } = result.experiment;
  $("look").max = clients + 1;
  $("look").value = Math.min($("look").value, clients + 1);
  fillTimes(result);
  draw();
  look();
  if (!calm.matches) unroll();
  goTo("result-title");
  say(verdict);
}

function goTo(id) {
  $(id).scrollIntoView({ block: "start", behavior: calm.matches ? "auto" : "smooth" });
}

/** Seconds in words. */
function time(seconds) {
  if (seconds >= 1) return `${seconds.toFixed(2)} s`;
  if (seconds < 0.0001) return "under 0.1 ms";
  return `${(seconds * 1000).toFixed(seconds < 0.01 ? 1 : 0)} ms`;
}

/** The requests of one gateway, the late one last. */
const all = (side) => [...side.requests, side.late];

/** The lane of a request: the worker thread that had it, or the event loop. */
function laneOf(gateway, request) {
  if (gateway === "wsgi") return request.worker;
  return shown.result.experiment.is_async ? "event loop" : request.thread;
}

function lanesOf(gateway) {
  const lanes = new Map();
  all(shown.result[gateway]).forEach((request, index) => {
    const lane = laneOf(gateway, request);
    if (!lanes.has(lane)) lanes.set(lane, []);
    lanes.get(lane).push({ request, number: index + 1 });
  });
  const byName = new Intl.Collator("en", { numeric: true });
  const sorted = [...lanes].sort(([one], [other]) => byName.compare(one, other));
  for (const [, rows] of sorted) rows.sort((one, other) => one.request.began - other.request.began);
  return sorted;
}

function draw() {
  const { result } = shown;
  const latest = Math.max(...GATEWAYS.flatMap((g) => all(result[g]).map((r) => r.answered)));
  for (const gateway of GATEWAYS) {
    const figure = document.querySelector(`.lanes[data-gateway="${gateway}"]`);
    const side = result[gateway];
    const lanes = lanesOf(gateway);
    figure.querySelector("strong").textContent = time(side.seconds);
    const where = lanes.length === 1 ? lanes[0][0] : `${lanes.length} threads`;
    const most = side.at_once === 1 ? "one view at a time" : `at most ${side.at_once} views at once`;
    figure.querySelector(".muted").textContent = `until all were answered · ${where} · ${most}`;
    figure.querySelector("svg")?.remove();
    figure.append(picture(gateway, lanes, latest, Math.max(240, figure.clientWidth - 26)));
  }
}

const GUTTER = 74;
const AXIS = 24;
const GAP = 4;

function picture(gateway, lanes, latest, width) {
  const { clients } = shown.result.experiment;
  const step = Math.min(16, Math.max(1.6, 300 / clients));
  const tallOf = ({ number }) => (number > clients ? Math.max(6, step) : step);
  const scale = (seconds) => GUTTER + (seconds / latest) * (width - GUTTER - 12);
  const parts = svg("g");
  const places = new Map();
  let top = 0;
  for (const [name, rows] of lanes) {
    const needed = rows.reduce((sum, row) => sum + tallOf(row), 0);
    const height = Math.max(14, needed);
    parts.append(svg("rect", { class: "lane", x: GUTTER, y: top, width: width - GUTTER, height }));
    parts.append(svg("text", { x: 0, y: top + Math.min(height / 2, 40) + 4 }, name));
    let y = top + (height - needed) / 2;
    for (const row of rows) {
      const { request, number } = row;
      const tall = tallOf(row);
      places.set(number, { y, tall, x: scale(request.sent), end: scale(request.answered) });
      parts.append(bar(request, y, tall, scale, number > clients));
      y += tall;
    }
    top += height + GAP;
  }
  shown.rows[gateway] = places;
  const height = top + AXIS;
  const drawing = svg("svg", {
    viewBox: `0 0 ${width} ${height}`, width, height, role: "img",
    "aria-label": `${gateway.toUpperCase()}: the requests in their lanes over time; the table has the same times.`,
  });
  drawing.append(axis(scale, latest, top, width), parts, svg("rect", { class: "chosen", rx: 2 }));
  drawing.addEventListener("pointermove", (event) => point(event, drawing, places));
  drawing.addEventListener("pointerdown", (event) => point(event, drawing, places));
  return drawing;
}

/** Grey while in line, coloured while its view is at work, pale until the answer is there. */
function bar(request, y, tall, scale, late) {
  const height = Math.max(1, tall - (tall > 4 ? 1.5 : 0.4));
  const piece = (kind, from, to) =>
    svg("rect", { class: kind, x: scale(from), y, width: Math.max(0, scale(to) - scale(from)), height });
  const work = piece("work", request.began, request.ended);
  work.setAttribute("width", Math.max(1.5, work.getAttribute("width")));
  return svg(
    "g", { class: late ? "late" : "" },
    piece("wait", request.sent, request.began),
    piece("work back", request.ended, request.answered),
    work,
  );
}

function axis(scale, latest, top, width) {
  const most = width < 500 ? 4 : 8;
  const power = 10 ** Math.floor(Math.log10(latest / most));
  const step = [1, 2, 5, 10].map((n) => n * power).find((n) => latest / n <= most);
  const marks = svg("g");
  for (let at = 0; at <= latest * 1.001; at += step) {
    const x = scale(at);
    marks.append(svg("line", { class: "tick", x1: x, x2: x, y1: 0, y2: top + 4 }));
    const text = tick(at, step);
    const anchor = at === 0 ? "start" : x > width - 30 ? "end" : "middle";
    marks.append(svg("text", { x, y: top + 17, "text-anchor": anchor }, text));
  }
  return marks;
}

function tick(at, step) {
  if (at === 0) return "0";
  if (step < 0.1) return `${+(at * 1000).toPrecision(6)} ms`;
  return `${at.toFixed(step < 1 ? 1 : 0)} s`;
}

function svg(name, attributes = {}, ...children) {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

/** Let time run through both pictures, as it did. */
function unroll() {
  const pictures = [...document.querySelectorAll(".lanes svg > g:last-of-type")];
  const begun = performance.now();
  const frame = (now) => {
    const share = Math.min(1, (now - begun) / 1400);
    for (const parts of pictures) {
      const { width } = parts.ownerSVGElement.viewBox.baseVal;
      const hidden = (1 - share) * (width - GUTTER);
      parts.style.clipPath = share < 1 ? `inset(0 ${hidden}px 0 0)` : "";
    }
    if (share < 1) requestAnimationFrame(frame);
  };
  requestAnimationFrame(frame);
}

/** The row under the pointer. */
function point(event, drawing, places) {
  const box = drawing.getBoundingClientRect();
  const y = ((event.clientY - box.top) * drawing.viewBox.baseVal.height) / box.height;
  const distance = ([, place]) => Math.abs(place.y + place.tall / 2 - y);
  const [[number]] = [...places].sort((one, other) => distance(one) - distance(other));
  $("look").value = number;
  look();
}

/** Show what happened to the client that the slider names. */
function look() {
  const number = Number($("look").value);
  const { clients } = shown.result.experiment;
  const name = number > clients ? "The visitor who came later" : `Client ${number} of ${clients}`;
  const entries = [];
  for (const gateway of GATEWAYS) {
    const request = all(shown.result[gateway])[number - 1];
    const text = inWords(gateway, request);
    entries.push(make("dt", { class: gateway }, gateway.toUpperCase()), make("dd", {}, text));
    mark(gateway, number);
  }
  $("who-is-it").textContent = name;
  $("details").replaceChildren(...entries);
  const words = [name, ...entries.map((entry) => entry.textContent)];
  $("look").setAttribute("aria-valuetext", words.join(" "));
}

function inWords(gateway, request) {
  return (
    `${time(request.began - request.sent)} in line, ${time(request.ended - request.began)} at work` +
    ` on ${where(gateway, request)}, answered after ${time(request.answered - request.sent)}`
  );
}

function where(gateway, request) {
  const lane = laneOf(gateway, request);
  return gateway === "wsgi" && request.thread !== lane ? `${request.thread} for ${lane}` : lane;
}

function mark(gateway, number) {
  const { x, y, tall, end } = shown.rows[gateway].get(number);
  const chosen = document.querySelector(`.lanes[data-gateway="${gateway}"] .chosen`);
  const box = { x: x - 2, y: y - 2, width: end - x + 4, height: tall + 3 };
  for (const [key, value] of Object.entries(box)) chosen.setAttribute(key, value);
}

$("look").addEventListener("input", look);

function fillTimes(result) {
  const { clients } = result.experiment;
  const titles = ["in line", "at work", "answered after", "on"];
  const head = make(
    "thead", {},
    make("tr", {}, make("th", { rowspan: 2, scope: "col" }, "Client"),
      ...GATEWAYS.map((g) => make("th", { colspan: 4, scope: "colgroup" }, g.toUpperCase()))),
    make("tr", {}, ...GATEWAYS.flatMap(() => titles.map((t, index) =>
      make("th", { scope: "col", class: index < 3 ? "number" : "" }, t)))),
  );
  const cells = (gateway, request) => [
    time(request.began - request.sent), time(request.ended - request.began),
    time(request.answered - request.sent), where(gateway, request),
  ].map((text, index) => make("td", { class: index < 3 ? "number" : "" }, text));
  const rows = Array.from({ length: clients + 1 }, (_, index) =>
    make("tr", {}, make("th", { scope: "row" }, index < clients ? String(index + 1) : "later"),
      ...GATEWAYS.flatMap((gateway) => cells(gateway, all(result[gateway])[index]))));
  $("times").replaceChildren(
    make("caption", { class: "sr-only" }, "Every client's times through both gateways"),
    head, make("tbody", {}, ...rows));
}

// More and more clients.

/** What is plotted now. */
let points = null;
let plots = [];

async function showSweep({ result, shows }) {
  points = result.points;
  $("growing").hidden = false;
  $("growing-shows").replaceChildren(...shows.map((sentence) => make("li", {}, sentence)));
  fillPoints();
  await plot();
  goTo("growing-title");
  say(shows.join(" "));
}

async function plot() {
  const { default: Plot } = await import("./vendor/uplot/uPlot.esm.js");
  for (const old of plots) old.destroy();
  plots = [
    chart(Plot, $("time-plot"), (side) => side.seconds, (value) => time(value)),
    chart(Plot, $("memory-plot"), (side) => side.memory / 1e6, (value) => `${value.toFixed(1)} MB`),
  ];
}

function chart(Plot, place, measure, words) {
  const style = getComputedStyle(document.documentElement);
  const colour = (name) => style.getPropertyValue(name).trim();
  const axisOf = (more) => ({
    stroke: colour("--muted"), grid: { stroke: colour("--line"), width: 1 },
    ticks: { stroke: colour("--line"), width: 1 }, font: "12px system-ui, sans-serif", ...more,
  });
  const line = (gateway, dash) => ({
    label: gateway.toUpperCase(), stroke: colour(`--${gateway}`), width: 2, dash,
    points: { show: true, size: 7, fill: colour("--card") },
    value: (_, value) => (value == null ? "–" : words(value)),
  });
  const options = {
    ...sizeOf(place),
    scales: { x: { time: false }, y: { range: (_, least, most) => [0, (most || 1) * 1.08] } },
    axes: [axisOf({ incrs: [1, 2, 5, 10, 20, 50, 100], label: "clients", labelFont: "12px system-ui, sans-serif", labelSize: 22 }), axisOf({ size: 48 })],
    series: [{ label: "Clients" }, line("wsgi"), line("asgi", [7, 4])],
    cursor: { drag: { x: false, y: false } },
  };
  const data = [points.map((p) => p.clients), ...GATEWAYS.map((g) => points.map((p) => measure(p[g])))];
  return new Plot(options, data, place);
}

const sizeOf = (place) => ({ width: Math.max(200, place.clientWidth), height: 280 });

function fillPoints() {
  const head = ["Clients", "WSGI, time", "ASGI, time", "WSGI, memory", "ASGI, memory"];
  const size = (bytes) => `${(bytes / 1e6).toFixed(1)} MB`;
  $("points").replaceChildren(
    make("caption", { class: "sr-only" }, "Time to finish and memory by number of clients"),
    make("thead", {}, make("tr", {}, ...head.map((text, index) =>
      make("th", { scope: "col", class: index ? "number" : "" }, text)))),
    make("tbody", {}, ...points.map((p) =>
      make("tr", {}, make("th", { scope: "row" }, String(p.clients)),
        ...[time(p.wsgi.seconds), time(p.asgi.seconds), size(p.wsgi.memory), size(p.asgi.memory)]
          .map((text) => make("td", { class: "number" }, text))))));
}

// The window changes.

let width = 0;
new ResizeObserver(([entry]) => {
  if (Math.abs(entry.contentRect.width - width) < 1) return;
  width = entry.contentRect.width;
  if (shown) {
    draw();
    look();
  }
  if (points) for (const one of plots) one.setSize(sizeOf(one.root.parentElement));
}).observe(document.getElementById("main"));
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => points && plot());

choose(given("chosen"));
