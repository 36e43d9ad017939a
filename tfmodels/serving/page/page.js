// Try the models of a server: this one, or the TF Serving that ?server= names.
// What a signature takes and gives is read from the server's metadata; nothing here knows a model.
import { TEXTS } from "./texts.js";

const parameters = new URLSearchParams(location.search);
const foreign = parameters.get("server");
const SERVER = new URL(foreign || ".", location.href).href.replace(/\/+$/, "");
const BATCH = 32; // rows of a request: what servers take
// Settings of generation with the values the page begins with.
const SETTINGS = {
  max_new_tokens: { value: 64, min: 1, step: 1 }, temperature: { value: 0.8, min: 0.01, step: "any" },
  top_k: { value: 50, min: 0, step: 1 }, top_p: { value: 0.95, min: 0.01, max: 1, step: "any" },
  seed: { value: 0, min: 0, step: 1 },
};
const SO_FAR = ["token_ids", "mask"]; // of a streamed text

const $ = (id) => document.getElementById(id);
const state = { language: "en", signatures: {}, inputs: [], table: false, running: null, rows: [] };
let texts = TEXTS.en;

function make(tag, options = {}, ...children) {
  const node = Object.assign(document.createElement(tag), options);
  node.append(...children);
  return node;
}

// Storage may be forbidden; the page works without.
function remembered(name, value) {
  try {
    if (value !== undefined) localStorage.setItem(`tfmodels-${name}`, value);
    return localStorage.getItem(`tfmodels-${name}`);
  } catch { return value; }
}

// --- Asking ---

class ServerError extends Error {}

async function ask(path, body, signal) {
  let answer;
  try {
    // Text and not JSON: browsers send that to another server without asking it first.
    answer = await fetch(`${SERVER}/v1/models${path}`, body === undefined ? { signal } :
      { method: "POST", body: JSON.stringify(body), signal });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ServerError(texts.gone);
  }
  return answer;
}

async function json(path, body, signal) {
  const answer = await ask(path, body, signal);
  const text = await answer.text();
  let value;
  try { value = JSON.parse(text); } catch { throw new ServerError(texts.notServer + text.slice(0, 200)); }
  if (!answer.ok) throw new ServerError(value.error ?? `${answer.status}`);
  return value;
}

const address = () => `/${encodeURIComponent($("model").value)}`;
const signature = () => state.signatures[$("signature").value];

// Answers of a signature for rows: a list of objects from output to value.
async function predict(rows, signal, name = $("signature").value) {
  const outputs = Object.keys(state.signatures[name].outputs);
  const body = { signature_name: name, instances: rows };
  const { predictions } = await json(`${address()}:predict`, body, signal);
  // A single output comes without its name.
  return outputs.length > 1 ? predictions : predictions.map((value) => ({ [outputs[0]]: value }));
}

// Yields {text, tokens, finished} while a text is written.
async function* streamed(row, signal) {
  if (foreign) { // TF Serving has no `:stream`: the same, part by part
    let part = { token_ids: [], mask: [], finished: false };
    while (!part.finished) {
      const given = { ...row, token_ids: part.token_ids, mask: part.mask };
      [part] = await predict([given], signal, "stream");
      yield { ...part, tokens: part.mask.filter(Boolean).length };
    }
    return;
  }
  const answer = await ask(`${address()}:stream`, row, signal);
  if (!answer.ok) throw new ServerError((await answer.json()).error);
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let waiting = "";
  for (let last = false; !last;) {
    let part;
    try { part = await reader.read(); } catch (error) {
      if (error.name === "AbortError") throw error;
      throw new ServerError(texts.gone);
    }
    if (part.done) throw new ServerError(texts.gone); // before the end of the text
    waiting += part.value;
    const events = waiting.split("\n\n");
    waiting = events.pop();
    for (const event of events) {
      const value = JSON.parse(event.split("\n").find((line) => line.startsWith("data:")).slice(5));
      if (value.error) throw new ServerError(value.error);
      yield value;
      last = value.finished;
    }
  }
}

// --- What a signature is ---

function kindOf({ inputs, outputs }) {
  const has = (...names) => names.every((name) => name in outputs);
  if (has("predicate", "predicate_start", "role", "start", "end")) return "roles";
  if (has("entity", "type", "start", "end")) return "entities";
  if (has("answer", "start", "end")) return "answer";
  if (has("label", "probabilities") || has("labels", "probabilities")) return "classes";
  if (has("token", "score")) return "masks";
  if (has("summary")) return "summary";
  if (has("translation")) return "translation";
  if (has("text") && "prompt" in inputs) return "generation";
  return "other";
}

// The page fills in texts and settings; a signature on ids is for programs.
function usable({ inputs }) {
  const names = Object.keys(inputs).filter((name) => !SO_FAR.includes(name));
  return names.some((name) => inputs[name].dtype === "DT_STRING") &&
    names.every((name) => inputs[name].dtype === "DT_STRING" || name in SETTINGS);
}

const isText = (name) => signature().inputs[name].dtype === "DT_STRING";

// --- Answers as a person wants them ---

const percent = (value) => `${(100 * value).toFixed(1)} %`;
const characters = (text) => Array.from(text); // code points, which positions count

function bars(rows, best) {
  const node = make("div", { className: "bars" });
  for (const [name, value] of rows) {
    const bar = make("span");
    bar.style.width = `${Math.max(0, Math.min(1, value)) * 100}%`;
    node.append(
      make("span", { className: best.includes(name) ? "name best" : "name", textContent: name, dir: "auto" }),
      make("span", { className: "bar" }, bar),
      make("span", { className: "number", textContent: percent(value) }));
  }
  return node;
}

function classes(answer) {
  const names = answer.classes ?? answer.probabilities.map((_, number) => `#${number}`);
  const found = (answer.labels ?? [answer.label]).filter((label) => label !== "");
  const rows = names.map((name, number) => [name, answer.probabilities[number]]);
  rows.sort((a, b) => b[1] - a[1]);
  const title = make("p", { className: "text", dir: "auto" }, make("strong", {
    textContent: found.length ? found.join(", ") : texts.noLabel }));
  const node = make("div", { className: "card" }, title, bars(rows.slice(0, 10), found));
  if (rows.length > 10) {
    node.append(make("details", {}, make("summary", { textContent: `${texts.all} (${rows.length})` }),
      bars(rows.slice(10), found)));
  }
  return node;
}

function hueOf(type) {
  let hash = 7;
  for (const character of type) hash = (hash * 31 + character.codePointAt(0)) % 360;
  return hash;
}

function entities(answer, row) {
  const text = characters(row[state.inputs[0]]);
  const found = answer.start
    .map((start, n) => ({ start, end: answer.end[n], type: answer.type[n], score: answer.score?.[n] }))
    .filter(({ start }) => start >= 0).sort((a, b) => a.start - b.start);
  const shown = make("p", { className: "text", dir: "auto" });
  let place = 0;
  for (const { start, end, type, score } of found) {
    shown.append(text.slice(place, start).join(""));
    const label = score === undefined ? type : `${type} ${percent(score)}`;
    const span = make("span", { className: "entity", title: label }, text.slice(start, end).join(""),
      make("span", { className: "type", textContent: label, dir: "ltr" }));
    span.style.setProperty("--hue", hueOf(type));
    shown.append(span);
    place = Math.max(place, end);
  }
  shown.append(text.slice(place).join(""));
  const node = make("div", { className: "card" }, shown);
  if (!found.length) node.append(make("p", { className: "quiet", textContent: texts.noEntities }));
  return node;
}

// A card for each predicate: the text with the predicate and its arguments.
function roles(answer, row) {
  const node = make("div");
  answer.predicate_start.forEach((from, n) => {
    const to = answer.predicate_end[n];
    if (from < 0) return;
    const spans = answer.start[n]
      .map((start, a) => ({ start, end: answer.end[n][a], type: answer.role[n][a] }))
      .filter(({ start, end }) => start >= 0 && (end <= from || start >= to));
    spans.push({ start: from, end: to, type: "V" });
    node.append(entities({ start: spans.map((span) => span.start), end: spans.map((span) => span.end),
      type: spans.map((span) => span.type) }, row));
  });
  if (!node.childElementCount) node.append(make("p", { className: "quiet", textContent: texts.noPredicates }));
  return node;
}

// One of several answers, the best first.
function answerAt(answer, n) {
  return { answer: answer.answer[n], start: answer.start[n], end: answer.end[n], score: answer.score?.[n] };
}

function severalAnswers(answer, row) {
  const list = make("ol", { className: "words" });
  answer.start.forEach((start, n) => {
    const score = answer.score ? ` ${Number(answer.score[n]).toFixed(3)}` : "";
    if (start >= 0) list.append(make("li", { dir: "auto" }, make("span", { textContent: answer.answer[n] }), score));
  });
  return make("div", {}, answered(answerAt(answer, 0), row), list);
}

function answered(answer, row) {
  if (Array.isArray(answer.start)) return severalAnswers(answer, row);
  const context = characters(row.context ?? row[state.inputs.at(-1)]);
  const there = answer.start >= 0 && answer.end > answer.start;
  const score = answer.score === undefined ? "" : ` (${texts.score} ${Number(answer.score).toFixed(3)})`;
  const title = make("p", { className: "text", dir: "auto" },
    make("strong", { textContent: there ? answer.answer : texts.noAnswer }), score);
  const shown = make("p", { className: "text", dir: "auto" });
  if (there) {
    shown.append(context.slice(0, answer.start).join(""),
      make("mark", { textContent: context.slice(answer.start, answer.end).join("") }),
      context.slice(answer.end).join(""));
  } else shown.append(context.join(""));
  return make("div", { className: "card" }, title, shown);
}

function masks(answer) {
  const node = make("div", { className: "card" });
  const filled = answer.token.filter((tokens) => tokens[0] !== "");
  if (!filled.length) node.append(make("p", { textContent: texts.noMask }));
  filled.forEach((tokens, number) => {
    const list = make("ol", { className: "words" });
    tokens.forEach((token, rank) => list.append(make("li", { dir: "auto" },
      make("span", { textContent: token }), ` ${percent(answer.score[number][rank])}`)));
    node.append(make("div", {}, make("h2", { textContent: `${texts.mask} ${number + 1}` })), list);
  });
  return node;
}

function beside(name) {
  return (answer, row) => {
    const side = (title, text) => make("div", { className: "card" }, make("h2", { textContent: title }),
      make("p", { className: "text", dir: "auto", textContent: text }));
    const node = make("div", { className: "beside" },
      side(texts.source, row[state.inputs[0]]), side(texts[name], answer[name]));
    return answer.truncated
      ? make("div", {}, node, make("p", { className: "quiet", textContent: texts.truncated })) : node;
  };
}

function generation(answer, row, unfinished) {
  const [prompt] = state.inputs;
  return make("div", { className: "card" }, make("p", { className: `text${unfinished ? " cursor" : ""}`, dir: "auto" },
    make("span", { className: "quiet", textContent: row[prompt] }), make("span", { textContent: answer.text })));
}

function other(answer) {
  return make("pre", { textContent: JSON.stringify(answer, null, 1) });
}

const SHOWN = { classes, entities, roles, answer: answered, masks, generation, other,
  summary: beside("summary"), translation: beside("translation") };

// A cell of a table: the part of an answer that matters.
function brief(answer) {
  switch (kindOf(signature())) {
    case "classes": return (answer.labels ?? [answer.label]).filter(Boolean).join(", ");
    case "entities": return answer.entity.map((entity, n) => entity && `${entity} [${answer.type[n]}]`)
      .filter(Boolean).join("; ");
    case "roles": return answer.predicate.filter(Boolean).join("; ");
    case "answer": return [answer.answer].flat()[0];
    case "masks": return answer.token.map((tokens) => tokens[0]).filter(Boolean).join(" ");
    case "summary": return answer.summary;
    case "translation": return answer.translation;
    case "generation": return answer.text;
    default: return JSON.stringify(Object.values(answer).length === 1 ? Object.values(answer)[0] : answer);
  }
}

function sureness(answer) {
  const numbers = answer.probabilities ?? [];
  return numbers.length ? percent(Math.max(...numbers)) : "";
}

// --- Tables ---

// Rows of CSV, TSV or what a spreadsheet copies; quotes as in RFC 4180.
export function parseTable(text) {
  const line = text.slice(0, (text + "\n").indexOf("\n"));
  const delimiter = ["\t", ";", ","].find((one) => line.includes(one)) ?? ",";
  const rows = [[""]];
  let quoted = false;
  for (let i = 0; i < text.length; i++) {
    const row = rows.at(-1), character = text[i];
    if (quoted) {
      if (character !== '"') row[row.length - 1] += character;
      else if (text[i + 1] === '"') { row[row.length - 1] += '"'; i++; }
      else quoted = false;
    } else if (character === '"' && row.at(-1) === "") quoted = true;
    else if (character === delimiter) row.push("");
    else if (character === "\n") rows.push([""]);
    else if (character !== "\r") row[row.length - 1] += character;
  }
  return rows.filter((row) => row.some((cell) => cell !== ""));
}

function tableRows() {
  const rows = parseTable($("csv").value);
  const names = $("header").checked && rows.length ? rows.shift() : [];
  const width = Math.max(0, names.length, ...rows.map((row) => row.length));
  return { rows, names: Array.from({ length: width }, (_, n) => names[n] || `${n + 1}`) };
}

function showColumns() {
  const { names } = tableRows();
  const chosen = [...$("columns").querySelectorAll("select")].map((select) => select.value);
  $("columns").replaceChildren(...state.inputs.map((input, number) => {
    const select = make("select", { name: input });
    names.forEach((name, n) => select.append(make("option", { value: n, textContent: name })));
    const named = names.indexOf(input);
    const wanted = chosen[number] || (named >= 0 ? named : Math.min(number, names.length - 1));
    select.value = String(wanted);
    select.onchange = showCode;
    return make("label", {}, `${texts.column} ${texts[input] ?? input} `, select, " ");
  }));
}

function quotedCell(value) {
  return /[",\n\r]/.test(value) ? `"${value.replaceAll('"', '""')}"` : value;
}

async function runTable(signal) {
  const { rows } = tableRows();
  if (!rows.length) throw new ServerError(texts.noRows);
  const columns = [...$("columns").querySelectorAll("select")];
  const given = rows.map((row) => ({ ...settings(),
    ...Object.fromEntries(columns.map(({ name, value }) => [name, row[value] ?? ""])) }));
  const body = make("tbody");
  const head = [texts.row, ...state.inputs.map((input) => texts[input] ?? input), kindOf(signature()), ""];
  const table = make("table", {}, make("thead", {}, make("tr", {},
    ...head.map((textContent) => make("th", { textContent, scope: "col" })))), body);
  const cells = [["row", ...state.inputs, "answer"]];
  const copy = make("button", { type: "button", textContent: texts.copyTable });
  copy.onclick = () => copied(copy, cells.map((row) => row.map(quotedCell).join(",")).join("\n") + "\n");
  $("answer").replaceChildren(make("div", { className: "scroll" }, table), copy);
  for (let first = 0; first < given.length; first += BATCH) {
    const part = given.slice(first, first + BATCH);
    const answers = await predict(part, signal);
    answers.forEach((answer, n) => {
      const inputs = state.inputs.map((input) => part[n][input]);
      const cell = (textContent, className = "") => make("td", { textContent, className, dir: "auto" });
      cells.push([String(first + n + 1), ...inputs, brief(answer)]);
      body.append(make("tr", {}, cell(first + n + 1, "number"), ...inputs.map((text) => cell(text)),
        cell(brief(answer)), cell(sureness(answer), "number")));
    });
    $("took").textContent = `${Math.min(first + BATCH, given.length)} ${texts.of} ${given.length}`;
  }
}

// --- One text ---

const fields = () => [...$("inputs").querySelectorAll("textarea")];

function settings() {
  return Object.fromEntries([...$("settings").querySelectorAll("input")].map((input) => [
    input.name, Number.isFinite(input.valueAsNumber) ? input.valueAsNumber : SETTINGS[input.name].value]));
}

const currentRow = () => ({ ...settings(),
  ...Object.fromEntries(fields().map(({ name, value }) => [name, value])) });

async function runOne(signal) {
  const row = currentRow(), kind = kindOf(signature()), start = performance.now();
  if (!fields().some(({ value }) => value.trim())) throw new ServerError(texts.nothing);
  const took = (tokens) => {
    const time = `${Math.round(performance.now() - start)} ${texts.ms}`;
    $("took").textContent = tokens === undefined ? time : `${tokens} ${texts.tokens}, ${time}`;
  };
  // `generate` is written as it comes where the version can.
  const asStream = kind === "generation" && "stream" in state.signatures && "seed" in signature().inputs;
  if (!asStream) {
    const [answer] = await predict([row], signal);
    $("answer").replaceChildren(SHOWN[kind](answer, row));
    return took();
  }
  let part = { text: "", tokens: 0 };
  try {
    for await (part of streamed(row, signal)) {
      $("answer").replaceChildren(generation(part, row, !part.finished));
      took(part.tokens);
    }
  } finally { // also where it was stopped
    if (part.text) $("answer").replaceChildren(generation(part, row, false));
  }
}

async function run() {
  if (state.running || !signature()) return;
  const controller = state.running = new AbortController();
  $("run").disabled = true;
  $("run").textContent = texts.running;
  $("stop").hidden = $("error").hidden = false;
  $("error").hidden = true;
  $("took").textContent = "";
  try {
    await limited(() => (state.table ? runTable : runOne)(controller.signal));
  } catch (error) {
    if (error.name === "AbortError") $("took").textContent += ` ${texts.stopped}`;
    else fail(error);
  } finally {
    state.running = null;
    $("run").disabled = false;
    $("run").textContent = texts.run;
    $("stop").hidden = true;
  }
}

// A model that writes fewer tokens than the page asks for says how many: it gets as many.
async function limited(work) {
  try { await work(); } catch (error) {
    const most = /max_new_tokens: give 1 to (\d+)/.exec(error.message)?.[1];
    const field = $("settings").querySelector("[name=max_new_tokens]");
    if (!most || !field || field.valueAsNumber <= Number(most)) throw error;
    field.value = most;
    field.max = most;
    await work();
  }
}

function fail(error) {
  if (!(error instanceof ServerError)) console.error(error);
  $("error").textContent = error.message;
  $("error").hidden = false;
}

// --- The same from a program ---

function showCode() {
  if (!signature()) return;
  const row = state.table ? tableExample() : currentRow();
  const name = $("signature").value, url = `${SERVER}/v1/models${address()}`;
  const body = JSON.stringify({ ...(name === "serving_default" ? {} : { signature_name: name }), instances: [row] });
  $("curl").textContent = `curl -d '${body.replaceAll("'", "'\\''")}' \\\n    '${url}:predict'`;
  const inputs = Object.entries(row).map(([key, value]) => `${JSON.stringify(key)}: [${JSON.stringify(value)}]`);
  const second = name === "serving_default" ? "" : `, ${JSON.stringify(name)}`;
  $("python").textContent = "from tfmodels.serving.client import Client\n\n" +
    `client = Client(${JSON.stringify(url)})\nprint(client.predict({${inputs.join(", ")}}${second}))`;
}

function tableExample() {
  const { rows } = tableRows();
  const columns = [...$("columns").querySelectorAll("select")];
  return { ...settings(), ...Object.fromEntries(columns.map(({ name, value }) => [name, rows[0]?.[value] ?? ""])) };
}

async function copied(button, text) {
  try { await navigator.clipboard.writeText(text); } catch { // without https: by selection
    const area = make("textarea", { value: text });
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
    button.focus();
  }
  const before = button.textContent;
  button.textContent = texts.copied;
  setTimeout(() => { button.textContent = before; }, 1200);
}

// --- Choosing ---

async function choose(model) {
  $("error").hidden = true;
  $("answer").replaceChildren();
  state.signatures = {};
  $("signature").replaceChildren();
  const found = await json(`/${encodeURIComponent(model)}/metadata`);
  for (const [name, value] of Object.entries(found.metadata.signature_def.signature_def).sort()) {
    if (!name.startsWith("__")) state.signatures[name] = value;
  }
  $("version").textContent = `${texts.version} ${found.model_spec.version}`;
  // Text that comes as it is written is a way of `generate`, not another choice.
  const names = Object.keys(state.signatures).filter((name) => usable(state.signatures[name]) && name !== "stream");
  const first = names.includes("generate") ? "generate" : "serving_default";
  names.sort((a, b) => (b === first) - (a === first));
  $("signature").replaceChildren(...names.map((value) => make("option", { value, textContent: value })));
  if (!names.length) fail(new ServerError(texts.noText));
  showForm();
}

function showForm() {
  const chosen = signature();
  const kept = Object.fromEntries(fields().map(({ name, value }) => [name, value]));
  const order = ["question", "text", "prompt", "context"];
  state.inputs = chosen ? Object.keys(chosen.inputs).filter(isText)
    .sort((a, b) => (order.indexOf(a) + 1 || 9) - (order.indexOf(b) + 1 || 9)) : [];
  $("inputs").replaceChildren(...state.inputs.map((name) => {
    const area = make("textarea", { name, rows: name === "question" ? 2 : 5, dir: "auto", spellcheck: false,
      value: kept[name] ?? "" });
    return make("label", { className: "block" }, texts[name] ?? name, area);
  }));
  const others = chosen ? Object.keys(SETTINGS).filter((name) => name in chosen.inputs) : [];
  const legend = $("settings").querySelector("legend");
  const values = settings();
  $("settings").replaceChildren(legend, ...others.map((name) => make("label", {}, `${texts[name]} `,
    make("input", { type: "number", name, ...SETTINGS[name], value: values[name] ?? SETTINGS[name].value }))));
  $("settings").hidden = !others.length;
  $("run").disabled = !chosen;
  showColumns();
  showCode();
}

function setTable(on) {
  state.table = on;
  $("one").setAttribute("aria-pressed", String(!on));
  $("many").setAttribute("aria-pressed", String(on));
  $("inputs").hidden = on;
  $("table-inputs").hidden = !on;
  $("answer").replaceChildren();
  showCode();
}

function setLanguage(language) {
  remembered("language", language);
  state.language = language;
  texts = TEXTS[language];
  document.documentElement.lang = language;
  for (const node of document.querySelectorAll("[data-text]")) node.textContent = texts[node.dataset.text];
  $("language").textContent = language === "zh" ? "English" : "中文";
  $("language").lang = language === "zh" ? "en" : "zh";
  $("run").textContent = state.running ? texts.running : texts.run;
  setTheme(document.documentElement.dataset.theme);
  showForm();
}

function setTheme(theme) {
  document.documentElement.dataset.theme = theme;
  $("theme").textContent = theme === "dark" ? texts.light : texts.dark;
}

async function models() {
  if (parameters.get("model")) return parameters.getAll("model");
  try { return (await json("")).models; } catch (error) {
    // TF Serving does not list its models.
    const name = error.message === texts.gone ? null : prompt(texts.name);
    if (!name) throw error;
    return [name];
  }
}

async function begin() {
  const dark = matchMedia("(prefers-color-scheme: dark)").matches;
  setTheme(remembered("theme") ?? (dark ? "dark" : "light"));
  setLanguage(remembered("language") ?? (navigator.language.startsWith("zh") ? "zh" : "en"));
  try {
    const names = await models();
    if (!names.length) throw new ServerError(texts.noModels);
    $("model").replaceChildren(...names.map((value) => make("option", { value, textContent: value })));
    await choose(names[0]);
  } catch (error) { fail(error); }
}

$("form").addEventListener("submit", (event) => { event.preventDefault(); run(); });
$("form").addEventListener("input", (event) => { if (event.target.id === "csv") showColumns(); showCode(); });
$("header").addEventListener("change", () => { showColumns(); showCode(); });
$("model").addEventListener("change", () => choose($("model").value).catch(fail));
$("signature").addEventListener("change", () => { $("answer").replaceChildren(); showForm(); });
$("one").addEventListener("click", () => setTable(false));
$("many").addEventListener("click", () => setTable(true));
$("stop").addEventListener("click", () => state.running?.abort());
$("language").addEventListener("click", () => setLanguage(state.language === "zh" ? "en" : "zh"));
$("theme").addEventListener("click", () => {
  setTheme(remembered("theme", document.documentElement.dataset.theme === "dark" ? "light" : "dark") ?? "light");
});
for (const button of document.querySelectorAll("[data-copy]")) {
  button.addEventListener("click", () => copied(button, $(button.dataset.copy).textContent));
}
document.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) { event.preventDefault(); run(); }
  if (event.key === "Escape") state.running?.abort();
});
begin();
