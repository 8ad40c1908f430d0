// Draws the timelines of the trace in #trace: one canvas for each run, all on one scale.
"use strict";
(() => {
  const trace = JSON.parse(document.getElementById("trace").textContent);
  const charts = document.getElementById("charts");
  const tip = document.getElementById("tip");
  const details = document.getElementById("details");
  const ROW = 20, GAP = 10, LABEL = 18, AXIS = 22, LEAST = 1; // pixels; the last: microseconds

  const runs = trace.runs.filter((run) => run.spans.length).map(lay_out);
  if (!runs.length) return;
  const longest = Math.max(LEAST, ...runs.map((run) => run.end));
  const view = { from: 0, to: longest };
  let selected = null; // { run, span }
  let hovered = null;
  let query = "";

  // Where each span goes: a track for each thread, in it a row for each level.
  function lay_out(run) {
    const spans = run.spans.map((span) => ({ ...span, children: [], row: 0 }));
    spans.sort((a, b) => a.start_us - b.start_us || b.end_us - a.end_us);
    const by_id = new Map(spans.map((span) => [span.id, span]));
    const tracks = new Map();
    for (const span of spans) {
      const parent = by_id.get(span.parent);
      span.up = parent && parent !== span ? parent : null;
      if (span.up) span.up.children.push(span);
      let track = tracks.get(span.thread);
      if (!track) tracks.set(span.thread, (track = { name: span.thread, spans: [], ends: [] }));
      let row = span.up && span.up.thread === span.thread ? span.up.row + 1 : 0;
      while ((track.ends[row] ?? -1) > span.start_us) row += 1;
      span.row = row;
      span.track = track;
      track.ends[row] = span.end_us;
      track.spans.push(span);
    }
    let top = AXIS;
    for (const track of tracks.values()) {
      track.top = top + LABEL;
      top = track.top + Math.max(1, track.ends.length) * ROW + GAP;
    }
    const end = spans.reduce((most, span) => Math.max(most, span.end_us), run.duration_us || 0);
    return { run, spans, by_id, tracks: [...tracks.values()], height: top, end };
  }

  // The colours are those of the page, so that they follow light and dark.
  let colours = {};
  function read_colours() {
    const style = getComputedStyle(document.documentElement);
    const names = new Set(runs.flatMap(({ spans }) => spans.map((span) => span.kind)));
    const value = (name) => style.getPropertyValue(name).trim();
    colours = { kinds: {} };
    for (const kind of names) colours.kinds[kind] = value(`--k-${kind}`) || value("--k-request");
    for (const name of ["text", "muted", "line", "card", "bad", "focus", "on-kind"]) colours[name] = value(`--${name}`);
  }

  function time(us) {
    if (us < 1000) return `${us < 10 ? us.toFixed(1) : Math.round(us)} µs`;
    if (us < 1e6) return `${(us / 1000).toFixed(us < 10000 ? 2 : 1)} ms`;
    return `${(us / 1e6).toFixed(2)} s`;
  }

  function build(each) {
    const box = document.createElement("div");
    box.className = "chart";
    const heading = document.createElement("h3");
    heading.textContent = each.run.title;
    const sum = document.createElement("span");
    const crossings = (each.run.crossings || []).length;
    sum.textContent = `${time(each.run.duration_us || each.end)}, ${crossings} crossing${crossings === 1 ? "" : "s"}`;
    heading.append(sum);
    const canvas = document.createElement("canvas");
    canvas.tabIndex = 0;
    canvas.setAttribute("role", "application");
    canvas.setAttribute("aria-roledescription", "timeline");
    canvas.setAttribute("aria-label", `Timeline of ${each.run.title}: ${each.spans.length} steps. Arrow keys go through them.`);
    canvas.setAttribute("aria-describedby", "details");
    box.append(heading, canvas);
    charts.append(box);
    each.canvas = canvas;
    each.pen = canvas.getContext("2d");
    listen(each);
  }

  // Drawing.

  let due = false;
  function redraw() {
    if (due) return;
    due = true;
    requestAnimationFrame(() => { due = false; runs.forEach(draw); });
  }

  const x_of = (each, us) => ((us - view.from) / (view.to - view.from)) * each.width;
  const us_of = (each, x) => view.from + (x / each.width) * (view.to - view.from);

  function fit(each) {
    const ratio = devicePixelRatio || 1;
    each.width = each.canvas.clientWidth;
    each.canvas.style.height = `${each.height}px`;
    each.canvas.width = Math.round(each.width * ratio);
    each.canvas.height = Math.round(each.height * ratio);
    each.pen.setTransform(ratio, 0, 0, ratio, 0, 0);
  }

  function draw(each) {
    const { pen, width, height } = each;
    pen.clearRect(0, 0, width, height);
    pen.font = "12px system-ui, sans-serif";
    pen.textBaseline = "middle";
    draw_axis(each);
    for (const track of each.tracks) draw_track(each, track);
    draw_crossings(each);
    for (const track of each.tracks) draw_label(each, track);
    for (const mark of [hovered, selected]) if (mark && mark.run === each) outline(each, mark.span);
  }

  function draw_axis(each) {
    const { pen, width, height } = each;
    const wanted = (view.to - view.from) / Math.max(2, width / 110);
    const power = 10 ** Math.floor(Math.log10(wanted));
    const step = [1, 2, 5, 10].map((n) => n * power).find((n) => n >= wanted);
    pen.strokeStyle = colours.line;
    pen.fillStyle = colours.muted;
    pen.beginPath();
    for (let us = Math.ceil(view.from / step) * step; us <= view.to; us += step) {
      const x = Math.round(x_of(each, us)) + 0.5;
      pen.moveTo(x, 0);
      pen.lineTo(x, height);
      pen.fillText(time(us), x + 4, AXIS / 2);
    }
    pen.stroke();
  }

  // On top of the crossings, or their lines would cross it out.
  function draw_label({ pen }, track) {
    const y = track.top - LABEL / 2;
    pen.fillStyle = colours.card;
    pen.fillRect(6, y - 8, pen.measureText(track.name).width + 4, 16);
    pen.fillStyle = colours.muted;
    pen.fillText(track.name, 8, y);
  }

  function draw_track(each, track) {
    const { pen, width } = each;
    const drawn = []; // how far each row is painted: what is narrower than a pixel is drawn once
    for (const span of track.spans) {
      if (span.end_us < view.from || span.start_us > view.to) continue;
      const left = Math.max(-2, x_of(each, span.start_us));
      const right = Math.min(width + 2, Math.max(x_of(each, span.end_us), left + 1));
      if (right <= (drawn[span.row] ?? -9) + 0.5) continue;
      drawn[span.row] = right;
      const top = track.top + span.row * ROW;
      pen.globalAlpha = query && !matches(span) ? 0.15 : span.kind === "wait" ? 0.45 : 1;
      pen.fillStyle = colours.kinds[span.kind];
      pen.fillRect(left, top, Math.max(1, right - left - 0.5), ROW - 3);
      if (right - left > 28) write(pen, span.name, Math.max(left, 0) + 5, top + (ROW - 3) / 2, right - Math.max(left, 0) - 9);
    }
    pen.globalAlpha = 1;
  }

  function write(pen, text, x, y, room) {
    const most = Math.floor(room / 5.4);
    if (most < 2) return;
    let shown = text.length > most ? `${text.slice(0, most - 1)}…` : text;
    while (shown.length > 1 && pen.measureText(shown).width > room) shown = `${shown.slice(0, -2)}…`;
    if (shown === "…") return;
    pen.fillStyle = colours["on-kind"];
    pen.fillText(shown, x, y);
  }

  function draw_crossings(each) {
    const { pen } = each;
    const top_of = new Map(each.tracks.map((track) => [track.name, track.top]));
    pen.strokeStyle = colours.kinds.crossing || colours.bad;
    pen.fillStyle = pen.strokeStyle;
    for (const crossing of each.run.crossings || []) {
      if (crossing.at_us < view.from || crossing.at_us > view.to) continue;
      const from = top_of.get(crossing.from_thread), to = top_of.get(crossing.to_thread);
      if (from === undefined || to === undefined) continue;
      const x = x_of(each, crossing.at_us);
      const down = to > from;
      pen.beginPath();
      pen.setLineDash([3, 3]);
      pen.moveTo(x, from);
      pen.lineTo(x, to);
      pen.stroke();
      pen.setLineDash([]);
      pen.beginPath();
      pen.moveTo(x, to);
      pen.lineTo(x - 4, to + (down ? -6 : 6));
      pen.lineTo(x + 4, to + (down ? -6 : 6));
      pen.fill();
    }
  }

  function outline(each, span) {
    const { pen } = each;
    const left = x_of(each, span.start_us);
    const right = Math.max(x_of(each, span.end_us), left + 2);
    pen.strokeStyle = selected && selected.span === span ? colours.focus : colours.text;
    pen.lineWidth = 2.5;
    pen.strokeRect(left - 1, span.track.top + span.row * ROW - 1.5, right - left + 1, ROW);
    pen.lineWidth = 1;
  }

  // Finding.

  function matches(span) {
    return `${span.name} ${span.kind} ${span.thread}`.toLowerCase().includes(query);
  }

  function span_at(each, x, y) {
    const us = us_of(each, x);
    const slack = (3 / each.width) * (view.to - view.from);
    let best = null;
    for (const track of each.tracks) {
      const row = Math.floor((y - track.top) / ROW);
      if (row < 0 || row >= Math.max(1, track.ends.length)) continue;
      for (const span of track.spans) {
        if (span.row !== row || span.start_us - slack > us || span.end_us + slack < us) continue;
        if (!best || span.end_us - span.start_us < best.end_us - best.start_us) best = span;
      }
    }
    return best;
  }

  function select(each, span, show = true) {
    selected = { run: each, span };
    const rows = [
      ["what", span.kind],
      ["when", `${time(span.start_us)} after the begin`],
      ["how long", time(span.end_us - span.start_us)],
      ["where", `${span.thread}${span.task ? `, task ${span.task}` : ""}, ${span.sync ? "synchronous" : "asynchronous"}`],
    ];
    if (span.file) rows.push(["code", `${span.file}${span.line ? `:${span.line}` : ""}`]);
    for (const [name, value] of Object.entries(span.detail || {})) {
      rows.push([name, typeof value === "string" ? value : JSON.stringify(value)]);
    }
    for (const crossing of each.run.crossings || []) {
      if (crossing.id === span.id || crossing.cause_span === span.id) {
        rows.push(["crossing", `${crossing.from_thread} → ${crossing.to_thread}, cost ${time(crossing.cost_us)}, because of ${crossing.cause}`]);
      }
    }
    const heading = document.createElement("h3");
    heading.textContent = span.name;
    const list = document.createElement("dl");
    for (const [name, value] of rows.slice(0, 40)) {
      const term = document.createElement("dt");
      const text = document.createElement("dd");
      term.textContent = name;
      text.textContent = value;
      list.append(term, text);
    }
    details.replaceChildren(heading, list);
    if (show && (span.end_us < view.from || span.start_us > view.to)) look_at((span.start_us + span.end_us) / 2);
    redraw();
  }

  // Moving.

  function set_view(from, to) {
    const room = longest * 1.02;
    const size = Math.min(room, Math.max(LEAST, to - from));
    view.from = Math.min(Math.max(0, from), room - size);
    view.to = view.from + size;
    redraw();
  }
  function zoom(factor, at = (view.from + view.to) / 2) {
    set_view(at - (at - view.from) * factor, at + (view.to - at) * factor);
  }
  const move = (share) => set_view(view.from + share * (view.to - view.from), view.to + share * (view.to - view.from));
  const look_at = (us) => set_view(us - (view.to - view.from) / 2, us + (view.to - view.from) / 2);

  const actions = {
    in: () => zoom(0.5),
    out: () => zoom(2),
    all: () => set_view(0, longest * 1.02),
    fit: () => {
      if (!selected) return;
      const { start_us, end_us } = selected.span;
      const edge = Math.max(LEAST, (end_us - start_us) * 0.1);
      set_view(start_us - edge, end_us + edge);
    },
  };

  function step(each, key) {
    const here = selected && selected.run === each ? selected.span : null;
    if (!here) return select(each, each.spans[0]);
    const index = each.spans.indexOf(here);
    const next = {
      ArrowRight: () => each.spans[index + 1],
      ArrowLeft: () => each.spans[index - 1],
      ArrowUp: () => here.up,
      ArrowDown: () => here.children[0],
    }[key]();
    if (next) select(each, next);
  }

  function listen(each) {
    const { canvas } = each;
    const pointers = new Map();
    let moved = 0;
    canvas.addEventListener("keydown", (event) => {
      if (event.altKey || event.ctrlKey || event.metaKey) return;
      const arrow = event.key.startsWith("Arrow");
      if (arrow && event.shiftKey && /Left|Right/.test(event.key)) move(event.key === "ArrowLeft" ? -0.25 : 0.25);
      else if (arrow) step(each, event.key);
      else if (event.key === "+" || event.key === "=") actions.in();
      else if (event.key === "-") actions.out();
      else if (event.key === "0") actions.all();
      else if (event.key === "f") actions.fit();
      else return;
      event.preventDefault();
    });
    canvas.addEventListener("wheel", (event) => {
      const at = us_of(each, event.offsetX);
      if (event.ctrlKey || event.metaKey) zoom(Math.exp(event.deltaY * 0.002), at);
      else if (event.shiftKey || Math.abs(event.deltaX) > Math.abs(event.deltaY)) move((event.deltaX || event.deltaY) / each.width);
      else return; // the page scrolls
      event.preventDefault();
    }, { passive: false });
    canvas.addEventListener("pointerdown", (event) => {
      pointers.set(event.pointerId, event.offsetX);
      moved = 0;
      canvas.setPointerCapture(event.pointerId);
    });
    canvas.addEventListener("pointermove", (event) => {
      if (!pointers.has(event.pointerId)) return hover(each, event);
      const before = [...pointers.values()];
      pointers.set(event.pointerId, event.offsetX);
      const after = [...pointers.values()];
      moved += Math.abs(after[0] - before[0]);
      if (after.length === 2) {
        const apart = (pair) => Math.max(8, Math.abs(pair[0] - pair[1]));
        zoom(apart(before) / apart(after), us_of(each, (after[0] + after[1]) / 2));
      } else move((before[0] - after[0]) / each.width);
    });
    const up = (event) => {
      pointers.delete(event.pointerId);
      if (event.type === "pointerup" && moved < 4) {
        const span = span_at(each, event.offsetX, event.offsetY);
        if (span) select(each, span, false);
      }
    };
    canvas.addEventListener("pointerup", up);
    canvas.addEventListener("pointercancel", up);
    canvas.addEventListener("pointerleave", () => { hovered = null; tip.hidden = true; redraw(); });
    canvas.addEventListener("dblclick", actions.fit);
  }

  function hover(each, event) {
    const span = span_at(each, event.offsetX, event.offsetY);
    if ((hovered && hovered.span) !== span) {
      hovered = span ? { run: each, span } : null;
      redraw();
    }
    tip.hidden = !span;
    if (!span) return;
    tip.textContent = `${span.name} (${span.kind}), ${time(span.end_us - span.start_us)}`;
    tip.style.left = `${Math.max(4, Math.min(event.clientX + 12, innerWidth - tip.offsetWidth - 4))}px`;
    tip.style.top = `${Math.max(4, Math.min(event.clientY + 16, innerHeight - tip.offsetHeight - 4))}px`;
  }

  for (const button of document.querySelectorAll("button[data-do]")) {
    button.addEventListener("click", actions[button.dataset.do]);
  }
  const find = document.getElementById("find");
  find.addEventListener("input", () => {
    query = find.value.trim().toLowerCase();
    const count = query ? runs.reduce((sum, each) => sum + each.spans.filter(matches).length, 0) : 0;
    document.getElementById("found").textContent = query ? `${count} step${count === 1 ? "" : "s"}` : "";
    redraw();
  });
  find.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || !query) return;
    const all = runs.flatMap((each) => each.spans.filter(matches).map((span) => [each, span]));
    const index = all.findIndex(([, span]) => selected && span === selected.span);
    if (all.length) select(...all[(index + 1) % all.length]);
  });
  for (const link of document.querySelectorAll("[data-span]")) {
    link.addEventListener("click", () => {
      const each = runs.find(({ run }) => run.id === link.dataset.run);
      const span = each && each.by_id.get(JSON.parse(link.dataset.span));
      if (!span) return;
      select(each, span);
      each.canvas.focus();
    });
  }

  function resize() {
    runs.forEach(fit);
    redraw();
  }
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { read_colours(); redraw(); });
  addEventListener("resize", resize);
  runs.forEach(build);
  read_colours();
  actions.all();
  resize();
})();
