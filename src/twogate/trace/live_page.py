"""The page that lists live traces: it asks for new ones while it is seen. Text and nothing else."""

from __future__ import annotations

__all__ = ["PAGE", "POLICY"]

_STYLE = """
:root { color-scheme: light dark; --line: #8884; --soft: #8882; --bad: #c62828; --mark: #9a6700 }
@media (prefers-color-scheme: dark) { :root { --bad: #ff8a80; --mark: #e3b341 } }
* { box-sizing: border-box }
body { font: 15px/1.5 system-ui, sans-serif; margin: 0 auto; padding: 1rem; max-width: 75rem }
h1 { font-size: 1.3rem; margin: 0 }
header { display: flex; flex-wrap: wrap; gap: .5rem 1rem; align-items: center }
header p { margin: 0; flex: 1 1 12rem; opacity: .8 }
input, button { font: inherit; padding: .3rem .6rem }
div { overflow-x: auto }
table { border-collapse: collapse; width: 100%; margin-top: 1rem }
th { text-align: left; font-weight: 600; border-bottom: 2px solid var(--line) }
th, td { padding: .35rem .6rem; vertical-align: top }
td { border-bottom: 1px solid var(--line) }
td.number, th.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap }
tbody tr:hover, tbody tr:focus-within { background: var(--soft) }
td a { overflow-wrap: anywhere }
.bad { color: var(--bad); font-weight: 600 }
.some { color: var(--mark); font-weight: 600 }
@media (max-width: 40rem) {
  .wide { display: none }
  tr:not([hidden]) { display: grid; grid-template-columns: repeat(4, minmax(0, 1fr)) }
  tr > :nth-child(2) { grid-column: 1 / -1; border-bottom: 0; padding-bottom: 0 }
  th, td { padding: .35rem .3rem }
  td.number, th.number { text-align: left }
}
"""

_SCRIPT = """
'use strict';
const rows = document.querySelector('tbody');
const state = document.querySelector('#state');
const filter = document.querySelector('#filter');
const pause = document.querySelector('#pause');
const MOST = 1000;
let last = '';
let paused = false;

function cell(row, text, kind) {
  const made = row.insertCell();
  made.textContent = text;
  if (kind) made.className = kind;
  return made;
}

function add(trace) {
  const row = rows.insertRow(0);
  row.dataset.text = (trace.method + ' ' + trace.path + ' ' + trace.status).toLowerCase();
  cell(row, new Date(trace.at * 1000).toLocaleTimeString(), 'wide');
  const link = document.createElement('a');
  link.href = trace.id;
  link.textContent = trace.method + ' ' + trace.path;
  cell(row, '').append(link);
  cell(row, trace.status, trace.status >= 500 || !trace.status ? 'number bad' : 'number');
  cell(row, trace.gateway.toUpperCase()).title = trace.reason;
  cell(row, trace.ms.toFixed(2), 'number');
  cell(row, trace.crossings, trace.crossings ? 'number some' : 'number');
  cell(row, trace.queries, 'number wide');
  cell(row, trace.worker, 'number wide');
  show(row);
  while (rows.rows.length > MOST) rows.deleteRow(-1);
}

function show(row) {
  row.hidden = !row.dataset.text.includes(filter.value.toLowerCase());
}

async function ask() {
  if (!paused && !document.hidden) {
    try {
      const answer = await fetch('list?after=' + encodeURIComponent(last));
      if (!answer.ok) throw new Error(answer.status);
      for (const trace of await answer.json()) { add(trace); last = trace.id; }
      state.textContent = rows.rows.length
        ? rows.rows.length + ' requests, the last one on top' : 'Waiting for requests.';
    } catch (error) {
      state.textContent = 'The server does not answer; trying again.';
    }
  }
  setTimeout(ask, 1000);
}

filter.addEventListener('input', () => [...rows.rows].forEach(show));
pause.addEventListener('click', () => {
  paused = !paused;
  pause.textContent = paused ? 'Go on' : 'Pause';
  pause.setAttribute('aria-pressed', paused);
});
ask();
"""


PAGE = f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Traces</title>
<link rel="icon" href="data:,">
<style>{_STYLE}</style>
</head>
<body>
<header>
<h1>Traces</h1>
<p id="state" role="status">Waiting for requests.</p>
<input id="filter" type="search" placeholder="Filter" aria-label="Filter by method, path, status">
<button id="pause" type="button" aria-pressed="false">Pause</button>
</header>
<main><div>
<table>
<thead><tr><th scope="col" class="wide">Time</th><th scope="col">Request</th>
<th scope="col" class="number">Status</th><th scope="col">Gateway</th>
<th scope="col" class="number">ms</th><th scope="col" class="number">Crossings</th>
<th scope="col" class="number wide">Queries</th><th scope="col" class="number wide">Worker</th></tr>
</thead>
<tbody></tbody>
</table>
</div></main>
<script>{_SCRIPT}</script>
</body>
</html>
"""

#: The policy of all pages about traces. They are whole in themselves, and take nothing from
#: anywhere; those of single traces bring their own script and style.
POLICY = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data:;"
    " connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
)
