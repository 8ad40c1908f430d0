// The Build page: the editor, and orders to run what is in it.

import { make, post, say } from "./base.js";
import {
  bracketMatching, classHighlighter, defaultKeymap, drawSelection, EditorState, EditorView,
  highlightActiveLine, highlightActiveLineGutter, highlightSpecialChars, history, historyKeymap,
  indentOnInput, indentUnit, indentWithTab, keymap, lineNumbers, lintGutter, python, setDiagnostics,
  syntaxHighlighting,
} from "./vendor/codemirror/codemirror.js";

const place = document.getElementById("editor");
const urls = place.dataset;
const find = (id) => document.getElementById(id);
const [checkButton, hintButton, solutionButton] = [find("check"), find("hint"), find("solution")];

// Colours come from the page's own tokens, so light and dark follow it.
const theme = EditorView.theme({
  "&": { backgroundColor: "var(--card)", color: "var(--text)", fontSize: "0.95rem" },
  "&.cm-focused": { outline: "none" },
  ".cm-scroller": { fontFamily: "var(--mono)", lineHeight: "1.55", minHeight: "16rem" },
  ".cm-content": { caretColor: "var(--text)" },
  ".cm-cursor": { borderLeftColor: "var(--text)" },
  ".cm-gutters": { backgroundColor: "var(--card)", border: "none", color: "var(--muted)" },
  ".cm-activeLine, .cm-activeLineGutter": { backgroundColor: "color-mix(in srgb, var(--raised) 60%, transparent)" },
  "&.cm-focused > .cm-scroller > .cm-selectionLayer .cm-selectionBackground, .cm-selectionBackground": {
    backgroundColor: "color-mix(in srgb, var(--focus) 28%, transparent) !important",
  },
  "&.cm-focused .cm-matchingBracket": { backgroundColor: "var(--accent-back)" },
  ".cm-tooltip": { backgroundColor: "var(--raised)", border: "1px solid var(--line)", color: "var(--text)" },
});

// Typed over a selection, Chromium keeps the look of what was there in a style attribute, which the
// page's policy refuses. So the editor replaces it.
const replacing = EditorView.domEventHandlers({
  beforeinput(event, view) {
    if (event.inputType !== "insertText" || !event.data || view.composing) return false;
    if (view.state.selection.main.empty) return false;
    event.preventDefault();
    view.dispatch(view.state.replaceSelection(event.data), { userEvent: "input.type", scrollIntoView: true });
    return true;
  },
});

const area = find("code");
const editor = new EditorView({
  parent: place,
  state: EditorState.create({
    doc: area.value,
    extensions: [
      EditorView.cspNonce.of(urls.nonce),
      keymap.of([{ key: "Mod-Enter", run: check }, indentWithTab, ...defaultKeymap, ...historyKeymap]),
      lineNumbers(), highlightActiveLineGutter(), highlightSpecialChars(), history(), drawSelection(),
      indentOnInput(), indentUnit.of("    "), bracketMatching(), highlightActiveLine(), lintGutter(),
      python(), syntaxHighlighting(classHighlighter), theme, replacing,
      EditorView.contentAttributes.of({
        "aria-label": `Code of ${urls.file}`, "aria-describedby": "keys", id: "code", tabindex: "0",
      }),
      EditorView.updateListener.of((update) => update.docChanged && touched()),
    ],
  }),
});
area.remove();
find("code-label").removeAttribute("for");
find("code-label").addEventListener("click", () => editor.focus());

const code = () => editor.state.doc.toString();

// What is written is kept: soon after the last key, and when the page is left.
let unsaved = 0;

function touched() {
  clearTimeout(unsaved);
  unsaved = setTimeout(keep, 1000);
}

async function keep() {
  unsaved = 0;
  try {
    await post(urls.keep, { code: code() });
  } catch (error) {
    show({ passed: false, sentence: `Your code could not be kept. ${error.message}`, mend: "", talk: [], printed: "" });
  }
}

addEventListener("pagehide", () => {
  if (!unsaved) return;
  clearTimeout(unsaved);
  unsaved = 0;
  const token = document.querySelector('meta[name="csrf"]').content;
  const headers = { "Content-Type": "application/json", "X-CSRFToken": token };
  fetch(urls.keep, { method: "POST", headers, body: JSON.stringify({ code: code() }), keepalive: true });
});

function check() {
  if (checkButton.getAttribute("aria-disabled") !== "true") run();
  return true;
}

async function run() {
  clearTimeout(unsaved);
  unsaved = 0;
  busy(true);
  try {
    const verdict = await post(urls.check, { code: code() });
    show(verdict);
    count(verdict);
  } catch (error) {
    show({ passed: false, sentence: error.message, mend: "", talk: [], printed: "" });
  } finally {
    busy(false);
  }
}

function busy(yes) {
  // Not disabled: a button that is would lose the focus.
  checkButton.setAttribute("aria-disabled", yes);
  checkButton.textContent = yes ? "Running your code…" : "Check";
  if (yes) say("Running your code.");
}

/** Text in which what stands between backticks is code. */
function withCode(text) {
  return text.split("`").map((part, i) => (i % 2 ? make("code", {}, part) : part));
}

function show({ passed, sentence, mend, line, talk, printed }) {
  const result = find("result");
  result.hidden = false;
  result.className = `card ${passed ? "passed" : "failed"}`;
  find("sentence").replaceChildren(make("strong", {}, passed ? "Done. " : "Not yet. "), ...withCode(sentence));
  find("mend").hidden = !mend;
  find("mend").replaceChildren(...withCode(mend));
  const rows = talk.map((row) =>
    make("tr", {}, make("td", {}, row.asked), make("td", {}, through(row.through)), make("td", {}, row.answered)),
  );
  find("talk").hidden = !rows.length;
  find("talk").querySelector("tbody").replaceChildren(...rows);
  find("printed").hidden = !printed;
  find("printed").querySelector("pre").textContent = printed;
  find("next").hidden = !passed;
  mark(passed ? null : line, sentence);
  say(`${find("sentence").textContent} ${find("mend").textContent}`);
  result.scrollIntoView({ block: "nearest" });
}

function through(name) {
  const kind = name.toLowerCase();
  return make("span", { class: `tag ${["wsgi", "asgi"].includes(kind) ? kind : ""}` }, name);
}

/** Mark a line in the editor and offer to go there. */
function mark(number, sentence) {
  const button = find("go");
  const known = number && number <= editor.state.doc.lines;
  button.hidden = !known;
  if (!known) {
    editor.dispatch(setDiagnostics(editor.state, []));
    return;
  }
  const { from, to } = editor.state.doc.line(number);
  const message = sentence.replaceAll("`", "");
  editor.dispatch(setDiagnostics(editor.state, [{ from, to, severity: "error", message }]));
  button.textContent = `Go to line ${number}`;
  button.onclick = () => {
    editor.dispatch({ selection: { anchor: from }, scrollIntoView: true });
    editor.focus();
  };
}

function count({ done, counts }) {
  for (const entry of document.querySelectorAll(".course [data-key]")) {
    const isDone = done.includes(entry.dataset.key);
    entry.classList.toggle("done", isDone);
    entry.querySelector(".state").textContent = isDone ? " (done)" : "";
    if (isDone && entry.querySelector("[aria-current]")) find("done").hidden = false;
  }
  for (const number of document.querySelectorAll("[data-count]")) {
    number.textContent = counts[number.dataset.count];
  }
  const bar = document.querySelector(".course .progress");
  bar.setAttribute("aria-valuenow", counts.steps);
  bar.firstElementChild.className = `of-4-${counts.steps}`;
}

checkButton.addEventListener("click", check);

find("reset").addEventListener("click", async () => {
  if (!confirm("Put back the code that this exercise begins with?")) return;
  try {
    const { code: start } = await post(urls.reset, {});
    editor.dispatch({ changes: { from: 0, to: editor.state.doc.length, insert: start } });
    clearTimeout(unsaved);
    unsaved = 0;
    find("result").hidden = true;
    mark(null);
    say("The starting code is back.");
    editor.focus();
  } catch (error) {
    say(error.message);
  }
});

hintButton.addEventListener("click", async () => {
  try {
    const { hint, left } = await post(urls.hint, {});
    const item = make("li", { tabindex: "-1" }, ...withCode(hint));
    document.querySelector(".hints").hidden = false;
    find("hints").append(item);
    hintButton.textContent = "Another hint";
    hintButton.hidden = left === 0;
    solutionButton.hidden = left > 0;
    item.focus();
  } catch (error) {
    say(error.message);
  }
});

solutionButton.addEventListener("click", async () => {
  const solved = find("solved");
  try {
    if (solved.hidden) solved.querySelector("code").textContent = (await post(urls.solution, {})).code;
  } catch (error) {
    say(error.message);
    return;
  }
  solved.hidden = !solved.hidden;
  solutionButton.setAttribute("aria-expanded", !solved.hidden);
  solutionButton.textContent = solved.hidden ? "Show the solution" : "Hide the solution";
});
