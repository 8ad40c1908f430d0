// Plays what both gateways did: one clock for two lanes, steps in the order of their recorded times.
import { calm, duration, make, post, say } from "./base.js";

const byId = (id) => document.getElementById(id);
const STOPS = [["client", "Client"], ["server", "Server"], ["gateway", "Gateway"], ["django", "Django"], ["response", "Response"]];
const COLUMNS = [["step", "Step"], ["server_type", "Server type"], ["request_type", "Request type"], ["call_type", "Call type"], ["django_processing", "Django processing"], ["response_sent", "Response sent"]];
const TRACKED = [["step", "Step"], ["request_type", "Request type"], ["call_mode", "Call mode"], ["response_type", "Response type"]];
const ROW = 15, LABEL = 17, AXIS = 18, GAP = 5; // pixels of a chart
// Where both lanes stand side by side, all of them is shown.
const wide = matchMedia("(min-width: 60.01rem)");
const SHORTEST = 6, LONGEST = 60; // seconds of a play at speed 1

// What is sent.

const form = byId("choose");
const chosen = () => form.querySelector("input[name=scenario]:checked");

function describe() {
  byId("sends").textContent = chosen().dataset.sends;
  byId("teaches").textContent = chosen().dataset.teaches;
}

async function run(event) {
  event.preventDefault();
  const choice = chosen();
  byId("trouble").hidden = true;
  byId("run").disabled = true;
  byId("running").textContent = "Both gateways are serving it…";
  try {
    const played = await post(form.dataset.run, { scenario: choice.value });
    choice.closest("label").querySelector(".seen").hidden = false;
    show(played);
    byId("play").focus({ preventScroll: true });
    byId("stage").scrollIntoView({ behavior: calm.matches ? "auto" : "smooth" });
    resume();
  } catch (error) {
    byId("trouble").textContent = error.message;
    byId("trouble").hidden = false;
  } finally {
    byId("run").disabled = false;
    byId("running").textContent = "";
  }
}

// One clock: seconds of the play for microseconds of the machine. Gaps grow with their logarithm.

function make_clock(steps) {
  const starts = new Set(steps.map((step) => step.at_us));
  const real = [...new Set([0, ...starts, ...steps.map((step) => step.end_us)])].sort((a, b) => a - b);
  const played = [0];
  for (let n = 1; n < real.length; n += 1) {
    const gap = 0.12 * Math.log10(1 + real[n] - real[n - 1]);
    played.push(played[n - 1] + gap + (starts.has(real[n]) ? 0.3 : 0.03));
  }
  const length = played.at(-1) || 1;
  const scale = Math.min(LONGEST, Math.max(SHORTEST, length)) / length;
  return { real, played: played.map((second) => second * scale), length: length * scale };
}

// The value at x of the line through the points (from[n], to[n]).
function between(from, to, x) {
  let low = 0, high = from.length - 1;
  if (high < 1 || x >= from[high]) return to[high];
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (from[middle] <= x) low = middle;
    else high = middle;
  }
  return to[low] + ((x - from[low]) / (from[high] - from[low])) * (to[high] - to[low]);
}

const second_of = (us) => between(state.clock.real, state.clock.played, us);
const us_of = (second) => between(state.clock.played, state.clock.real, second);

// What is shown.

let state = null;

/** Show what was played by the lab: see twogate.lab.play. */
export function show(played) {
  pause();
  const lanes = played.lanes.map(build_lane);
  const steps = lanes.flatMap((lane) => lane.steps);
  steps.sort((a, b) => a.at_us - b.at_us || a.order - b.order);
  state = { played, lanes, steps, count: 0, position: 0, moment: null, speed: Number(byId("speed").value) };
  state.clock = make_clock(steps);
  for (const step of steps) step.second = second_of(step.at_us);
  state.moments = played.moments.map((moment) => ({ ...moment, second: second_of(moment.at_us) }));
  // One after the other, also where two are of the same time.
  state.moments.forEach((moment, n, all) => { if (n) moment.second = Math.max(moment.second, all[n - 1].second + 1e-6); });
  byId("lanes").replaceChildren(...lanes.map((lane) => lane.box));
  byId("asked").replaceChildren(...tell_request(played.request));
  byId("scrubber").max = steps.length;
  byId("stage").hidden = false;
  tell_end(played);
  close_moment();
  draw_all();
  go_to(0);
}

function tell_request({ method, path, messages }) {
  if (!messages) return ["The client sent ", make("code", {}, `${method} ${path}`), " twice: once through WSGI, once through ASGI."];
  return ["The client asked twice to open a WebSocket at ", make("code", {}, path), ": once where there is only WSGI, once with ASGI."];
}

function build_lane(lane) {
  const made = { ...lane, reached: 0 };
  const wsgi = lane.id.endsWith("wsgi");
  made.stops = STOPS.map(([key, title]) => make("li", { "data-stop": key }, title));
  made.now = make("p", { class: "now" });
  made.canvas = make("canvas", { role: "img", "aria-label": `Threads of ${lane.title}: ${lane.threads.map((thread) => thread.name).join(", ")}. The table below has the same steps.` });
  made.future = make("div", { class: "future" });
  made.head = make("div", { class: "head" });
  made.variables = make("tbody");
  made.table = make("tbody");
  made.tracker = make("div", { class: "table-wrap", tabindex: 0, role: "region", "aria-label": `Variable tracker, ${lane.title}` }, table(TRACKED.map(([, title]) => title), made.variables));
  made.scroller = make("div", { class: "table-wrap", tabindex: 0, role: "region", "aria-label": `Execution table, ${lane.title}` }, table(["at", ...COLUMNS.map(([, title]) => title)], made.table));
  made.tables = make("details", { class: "tables", open: wide.matches }, make("summary", {}, "Variable tracker and execution table"),
    make("div", { class: "variables" }, make("h3", {}, "Variable tracker"), made.tracker),
    make("div", { class: "steps" }, make("h3", {}, "Execution table"), made.scroller));
  made.steps = lane.steps.map((step, order) => build_step(made, step, order));
  made.box = make("article", { class: `card lane ${wsgi ? "wsgi" : "asgi"}-lane`, "data-run": lane.id },
    make("h2", {}, wsgi ? "WSGI" : "ASGI", make("small", {}, `${lane.title}: ${duration(lane.duration_us)}, status ${lane.status}`)),
    make("ol", { class: "flow", "aria-label": "From the client to the response" }, ...made.stops),
    made.now,
    make("div", { class: "threads" }, made.canvas, made.future, made.head),
    made.tables);
  made.canvas.addEventListener("click", (event) => open_at(made, event.offsetX, event.offsetY));
  return made;
}

function table(titles, body) {
  const heads = titles.map((title) => make("th", { scope: "col" }, title));
  return make("table", { class: "data" }, make("thead", {}, make("tr", {}, ...heads)), body);
}

function build_step(lane, step, order) {
  const made = { ...step, lane, order, detail_row: null };
  const cells = COLUMNS.map(([key]) => make("td", {}, step.row[key]));
  made.button = make("button", { type: "button", "aria-expanded": "false", onclick: () => toggle(made) }, step.row.step);
  cells[0].replaceChildren(made.button);
  made.tr = make("tr", { hidden: true, class: step.kind }, make("td", {}, duration(step.at_us)), ...cells);
  lane.table.append(made.tr);
  if (step.variables) {
    made.variable = make("tr", { hidden: true }, ...TRACKED.map(([key]) => make("td", {}, step.variables[key] || "–")));
    lane.variables.append(made.variable);
  }
  return made;
}

// A step, opened.

function toggle(step, open = step.button.getAttribute("aria-expanded") === "false") {
  step.button.setAttribute("aria-expanded", String(open));
  if (open && !step.detail_row) {
    step.detail_row = make("tr", { class: "opened" }, make("td", { colspan: COLUMNS.length + 1 }, describe_step(step)));
    step.tr.after(step.detail_row);
  }
  if (step.detail_row) step.detail_row.hidden = !open || step.tr.hidden;
}

function describe_step(step) {
  const facts = [["Event", step.bar ? `span ${step.span}, ${step.name}` : step.name]];
  if (step.thread) facts.push(["Ran on", step.thread + (step.task ? `, task ${step.task}` : ", no event loop")]);
  if (step.within) facts.push(["Within", step.within]);
  facts.push(["Began", duration(step.at_us)]);
  if (step.bar) facts.push(["Lasted", `${duration(step.end_us - step.at_us)}, to ${duration(step.end_us)}`]);
  if (step.file) facts.push(["Code", make("code", {}, `${step.file}:${step.line}`)]);
  for (const [name, value] of Object.entries(step.detail)) {
    if (name.endsWith("_us")) facts.push([name.slice(0, -3), duration(value)]);
    else facts.push([name, typeof value === "object" ? JSON.stringify(value) : String(value)]);
  }
  const list = make("dl", {}, ...facts.flatMap(([name, value]) => [make("dt", {}, name), make("dd", {}, value)]));
  return make("div", {}, list, step.source ? make("pre", { tabindex: 0, "aria-label": "Code" }, make("code", {}, step.source)) : null);
}

function open_step(step) {
  if (step.tr.hidden) go_to(state.steps.indexOf(step) + 1);
  toggle(step, true);
  step.lane.tables.open = true;
  step.lane.scroller.scrollTop = step.tr.offsetTop - 40;
  step.button.focus({ preventScroll: true });
  step.lane.scroller.scrollIntoView({ block: "center", behavior: calm.matches ? "auto" : "smooth" });
}

// Time.

let playing = false;
let last = 0;

function resume() {
  if (!state || playing) return;
  if (state.count >= state.steps.length && state.position >= state.clock.length) go_to(0);
  close_moment();
  playing = true;
  last = performance.now();
  byId("play").textContent = "Pause";
  requestAnimationFrame(frame);
}

function pause() {
  playing = false;
  byId("play").textContent = "Play";
}

function frame(now) {
  if (!playing) return;
  // A tab that was away goes on from where it was.
  const ahead = Math.min(now - last, 250) / 1000 * state.speed;
  last = now;
  const next = Math.min(state.position + ahead, state.clock.length);
  const moment = byId("stops").checked ? moment_between(state.position, next) : undefined;
  move_to(moment ? moment.second : next);
  if (moment) {
    pause();
    open_moment(moment);
  } else if (state.position >= state.clock.length) {
    pause();
    say("The play has ended.");
  } else requestAnimationFrame(frame);
}

const moment_between = (from, to) => state.moments.find((moment) => moment.second > from && moment.second <= to);

// To the second of the play.
function move_to(second) {
  state.position = second;
  let count = state.count;
  while (count < state.steps.length && state.steps[count].second <= second) count += 1;
  while (count > 0 && state.steps[count - 1].second > second) count -= 1;
  if (count !== state.count) reveal(count);
  const shown = calm.matches && playing ? (state.steps[state.count - 1]?.second ?? 0) : second;
  place_heads(shown / state.clock.length);
  tell_time(us_of(shown));
}

// To where so many steps have been shown.
function go_to(count) {
  pause();
  const second = count ? state.steps[count - 1].second : 0;
  state.position = second;
  reveal(count, true);
  place_heads(count ? second / state.clock.length : 0);
  tell_time(us_of(second));
}

function step_by(one) {
  if (!state) return;
  const before = state.position;
  const count = Math.max(0, Math.min(state.steps.length, state.count + one));
  close_moment();
  go_to(count);
  if (one > 0 && count === state.steps.length) move_to(state.clock.length);
  const moment = one > 0 && byId("stops").checked ? moment_between(before, state.position) : undefined;
  if (moment) open_moment(moment);
}

function reveal(count, exactly = false) {
  const [low, high] = count > state.count ? [state.count, count] : [count, state.count];
  const hidden = count < state.count;
  for (let n = low; n < high; n += 1) {
    const step = state.steps[n];
    step.tr.hidden = hidden;
    if (step.variable) step.variable.hidden = hidden;
    if (step.detail_row) step.detail_row.hidden = hidden || step.button.getAttribute("aria-expanded") === "false";
    step.lane.reached += hidden ? -1 : 1;
  }
  state.count = count;
  byId("scrubber").value = count;
  const latest = state.steps[count - 1];
  byId("scrubber").setAttribute("aria-valuetext", latest ? `${count} of ${state.steps.length}: ${latest.lane.id}, ${latest.row.step}` : "the beginning");
  for (const lane of state.lanes) if (exactly || lane.shown !== lane.reached) mark(lane);
  byId("end").hidden = count < state.steps.length;
}

// Where a lane is now.
function mark(lane) {
  const step = lane.steps[lane.reached - 1];
  const before = lane.marked;
  if (before) before.tr.classList.remove("here");
  lane.marked = step;
  lane.shown = lane.reached;
  const been = new Set(lane.steps.slice(0, lane.reached).map((one) => one.stop));
  const over = lane.reached === lane.steps.length;
  for (const stop of lane.stops) {
    const key = stop.dataset.stop;
    const refused = lane.refused && over && key === "gateway";
    stop.className = refused ? "refused" : key === step?.stop ? "here" : been.has(key) ? "been" : over ? "never" : "";
  }
  if (!step) {
    lane.now.textContent = "Not sent yet.";
    return;
  }
  step.tr.classList.add("here");
  const { step: title, django_processing: processing } = step.row;
  const facts = [processing && title, step.thread && `on ${step.thread}${step.task ? ", an event loop" : ""}`, `at ${duration(step.at_us)}`, step.bar && `lasts ${duration(step.end_us - step.at_us)}`];
  const name = over && lane.refused ? lane.refused : processing || title;
  lane.now.replaceChildren(make("strong", {}, name), facts.filter(Boolean).join(", "));
  follow(lane.scroller, step.tr);
  if (step.variable) follow(lane.tracker, step.variable);
}

// Keep the newest row of a table in view.
function follow(scroller, row) {
  scroller.scrollTop = row.offsetTop + row.offsetHeight + 4 - scroller.clientHeight;
}

function place_heads(part) {
  for (const lane of state.lanes) {
    const x = part * lane.width;
    lane.head.style.transform = `translateX(${x}px)`;
    lane.future.style.transform = `translateX(${x}px)`;
  }
}

function tell_time(us) {
  const text = `${duration(us)} of ${duration(state.clock.real.at(-1))}`;
  const clock = byId("clock");
  if (clock.textContent !== text) clock.textContent = text;
}

function tell_end(played) {
  const sums = played.lanes.map((lane) => {
    const crossings = lane.crossings ? `${lane.crossings} crossing${lane.crossings === 1 ? "" : "s"} between loop and threads` : "no crossing between loop and threads";
    return lane.refused ? `${lane.title}: ${lane.refused}` : `${lane.title}: ${duration(lane.duration_us)}, ${crossings}.`;
  });
  const choice = played.chosen.gateway ? `twogate serve would send it through ${played.chosen.gateway.toUpperCase()} (${played.chosen.reason}).` : "";
  byId("end").replaceChildren(...[...sums, choice].filter(Boolean).flatMap((text, n) => n ? [make("br"), text] : [text]));
}

// Key moments.

function open_moment(moment) {
  state.moment = moment;
  byId("question").textContent = moment.question;
  byId("answer").textContent = moment.answer;
  byId("proof").textContent = moment.proof;
  byId("moment").hidden = false;
  if (!wide.matches) lane_of(moment).box.scrollIntoView({ behavior: calm.matches ? "auto" : "smooth" });
  say(`${moment.question} ${moment.answer}`);
}

function close_moment() {
  byId("moment").hidden = true;
}

const lane_of = (moment) => state.lanes.find((lane) => lane.id === moment.run);

function show_proof() {
  open_step(lane_of(state.moment).steps.find((step) => step.bar && step.span === state.moment.span));
}

// Threads, drawn once for each size; what has not happened yet is covered.

const KINDS = { protocol: "server", dispatch: "server", wait: "server", gateway: "gateway", handler: "handler", middleware: "middleware", view: "view", crossing: "crossing", response: "response" };

function draw_all() {
  const style = getComputedStyle(document.documentElement);
  const colour = (name) => style.getPropertyValue(`--${name}`).trim();
  for (const lane of state.lanes) lane.height = place_threads(lane);
  const highest = Math.max(...state.lanes.map((lane) => lane.height));
  for (const lane of state.lanes) draw(lane, wide.matches ? highest : lane.height, colour);
  place_heads(state.position / state.clock.length);
}

// Where the bars of each thread begin; the height of all.
function place_threads(lane) {
  let top = AXIS;
  for (const thread of lane.threads) {
    thread.top = top + LABEL;
    top = thread.top + thread.levels * ROW + GAP;
  }
  return top;
}

function draw(lane, height, colour) {
  const width = lane.width = lane.canvas.parentElement.clientWidth;
  const ratio = devicePixelRatio || 1;
  lane.canvas.width = Math.round(width * ratio);
  lane.canvas.height = Math.round(height * ratio);
  lane.canvas.style.height = `${height}px`;
  const pen = lane.canvas.getContext("2d");
  pen.setTransform(ratio, 0, 0, ratio, 0, 0);
  pen.textBaseline = "middle";
  pen.font = "11px system-ui, sans-serif";
  draw_axis(pen, width, height, colour);
  for (const step of lane.steps) if (step.bar) draw_bar(pen, lane, step, colour);
  pen.font = "600 11px system-ui, sans-serif";
  pen.fillStyle = colour("muted");
  for (const thread of lane.threads) pen.fillText(thread.name + (thread.loop ? " · event loop" : ""), 6, thread.top - LABEL / 2);
}

function draw_axis(pen, width, height, colour) {
  pen.strokeStyle = colour("line");
  pen.fillStyle = colour("muted");
  pen.beginPath();
  for (let x = 0; x < width - 60; x += 90) {
    pen.moveTo(x + 0.5, 0);
    pen.lineTo(x + 0.5, height);
    pen.fillText(duration(us_of((x / width) * state.clock.length)), x + 4, AXIS / 2);
  }
  pen.stroke();
}

function box_of(lane, step) {
  const thread = lane.threads.find((one) => one.name === step.thread);
  const x = (step.second / state.clock.length) * lane.width;
  const end = (second_of(step.end_us) / state.clock.length) * lane.width;
  return { x, y: thread.top + step.level * ROW, width: Math.max(2, end - x), height: ROW - 2 };
}

function draw_bar(pen, lane, step, colour) {
  const box = step.box = box_of(lane, step);
  pen.fillStyle = colour(`k-${KINDS[step.kind] ?? "inner"}`);
  pen.fillRect(box.x, box.y, box.width - 0.5, box.height);
  if (box.width < 30) return;
  pen.save();
  pen.beginPath();
  pen.rect(box.x, box.y, box.width - 4, box.height);
  pen.clip();
  pen.fillStyle = colour("on-kind");
  pen.fillText(step.name, box.x + 4, box.y + box.height / 2 + 0.5);
  pen.restore();
}

function open_at(lane, x, y) {
  const found = lane.steps.find(({ box }) => box && x >= box.x - 2 && x <= box.x + box.width + 2 && y >= box.y && y <= box.y + box.height);
  if (!found) return;
  pause();
  open_step(found);
}

// What the learner presses.

form.addEventListener("submit", run);
form.addEventListener("change", describe);
byId("play").addEventListener("click", () => (playing ? pause() : resume()));
byId("back").addEventListener("click", () => step_by(-1));
byId("forward").addEventListener("click", () => step_by(1));
byId("go-on").addEventListener("click", () => { byId("play").focus(); resume(); });
byId("show-proof").addEventListener("click", show_proof);
byId("speed").addEventListener("change", (event) => { if (state) state.speed = Number(event.target.value); });
byId("scrubber").addEventListener("input", (event) => { close_moment(); go_to(Number(event.target.value)); });
wide.addEventListener("change", () => {
  for (const lane of state?.lanes ?? []) lane.tables.open ||= wide.matches;
});
addEventListener("resize", () => state && draw_all());
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => state && draw_all());
document.addEventListener("keydown", (event) => {
  const busy = event.altKey || event.ctrlKey || event.metaKey || event.target.closest("input, select, textarea, pre, .table-wrap[tabindex]:focus");
  if (!state || busy) return;
  if (event.key === "ArrowRight") step_by(1);
  else if (event.key === "ArrowLeft") step_by(-1);
  else if (event.key === " " && !event.target.closest("button, a, summary")) playing ? pause() : resume();
  else return;
  event.preventDefault();
});
describe();
