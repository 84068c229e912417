// The page's script, in the order of the page: connection, answer, ask, log. Everything from outside is inserted as
// text (textContent), never as markup.

import { connect, InvalidFilterError, RejectedRequestError } from "antiphon";
import { milliseconds, preview, show } from "./show.js";

const MAX_LOG_LINES = 200;
const MAX_RESPONSE_LINES = 200; // of the responses to one filter; the count beside them goes on
const clock = new Intl.DateTimeFormat("en-GB", {
  hour: "2-digit",
  minute: "2-digit",
  second: "2-digit",
  fractionalSecondDigits: 3,
});

const byId = (id) => document.getElementById(id);

/** An element with text and a class. */
function element(name, className, ...content) {
  const made = document.createElement(name);
  if (className) made.className = className;
  made.append(...content); // strings become text nodes
  return made;
}

// ---- Connection -----------------------------------------------------------------------------------------------------

const parameters = new URLSearchParams(location.search);
const scheme = location.protocol === "https:" ? "wss:" : "ws:";
const broker = parameters.get("broker") ?? `${scheme}//${location.host}/diffusion`;

/** The latest session, closed or not; undefined until the first connection. */
let session;

const STATES = {
  connecting: "Connecting",
  connected: "Connected",
  recovering: "Reconnecting",
  closed: "Closed",
  failed: "Not connected",
};

async function openSession() {
  showState("connecting");
  log("state", `Connecting to ${broker}`);
  let opened;
  try {
    opened = await connect(broker, {
      principal: parameters.get("principal") ?? undefined,
      credentials: parameters.get("password") ?? undefined,
    });
  } catch (error) {
    showState("failed", describe(error));
    log("problem", `Not connected: ${describe(error)}`);
    return;
  }
  session = opened;
  showState("connected");
  log("state", `Connected as ${principalOf(opened)}, session ${opened.id}`);

  // Handlers need no care here: the session brings them back by itself, also where messages or the session itself are
  // lost. Only the end of the session takes them along.
  opened.on("disconnect", ({ reason }) => {
    showState("recovering"); // the reason would only move the page, for the moment that it most often takes
    log("problem", `Disconnected: ${reason}`);
  });
  opened.on("messageloss", ({ requests, handlers: lost }) => {
    const restored = `registering ${counted(lost, "handler")} again`;
    log("problem", `Messages were lost: ${counted(requests, "request")} failed, ${restored}`);
  });
  opened.on("reconnect", ({ lossless, newSession }) => {
    showState("connected"); // the session ID may be a new one
    const kept = lossless ? "nothing was lost" : "the session is the same";
    log("state", `Reconnected, ${newSession ? `with a new session, ${opened.id}` : kept}`);
  });
  opened.closed.then(({ code, reason, byClient }) => {
    const why = reason ? `${code}: ${reason}` : code;
    showState("closed", why);
    log(byClient ? "state" : "problem", `Session closed, ${why}`);
    for (const handler of handlers.values()) handler.registration = undefined;
    showHandlers();
  });

  // A closed session took its registrations along; the functions are still in the list.
  for (const handler of handlers.values()) {
    register(handler).catch((error) =>
      log("problem", `Could not register ${nameOf(handler)} again: ${describe(error)}`),
    );
  }
}

function showState(state, detail = "") {
  const open = session !== undefined && (state === "connected" || state === "recovering");
  document.querySelector(".connection").dataset.state = state;
  byId("state").textContent = STATES[state];
  byId("state-detail").textContent = detail;
  byId("session-id").textContent = open ? session.id : "none";
  byId("principal").textContent = open ? principalOf(session) : "none";

  const button = byId("connect");
  const hadFocus = document.activeElement === button;
  button.hidden = state !== "closed" && state !== "failed";
  // A focus on what is hidden would be lost.
  if (hadFocus && button.hidden) byId("answer-path").focus();
  if (!button.hidden && document.activeElement === byId("copy-session")) button.focus();
}

function counted(number, what) {
  return `${number} ${what}${number === 1 ? "" : "s"}`;
}

function principalOf({ principal }) {
  return principal === "" ? "anonymous" : principal;
}

/** An error on one line: its code, where it has one, and its message. */
function describe(error) {
  if (!(error instanceof Error)) return String(error);
  return `${error.code ?? error.name}: ${error.message}`;
}

/** The error of a session, for the time before there is one. */
function notConnected() {
  return Object.assign(new Error("there is no session yet"), { code: "NOT_CONNECTED", outcome: "not-sent" });
}

/** The button shows what it did until it loses focus; the details are only read out, so that nothing moves. */
function showCopy(text, status) {
  byId("copy-session").textContent = text;
  byId("copy-status").textContent = status;
}

byId("copy-session").addEventListener("click", async ({ target }) => {
  target.focus(); // Safari does not do that for a button
  try {
    await navigator.clipboard.writeText(byId("session-id").textContent); // no clipboard outside secure contexts
    showCopy("Copied", "Session ID copied");
  } catch {
    getSelection().selectAllChildren(byId("session-id"));
    showCopy("Selected", "Session ID selected, copy it with the keyboard");
  }
});
byId("copy-session").addEventListener("blur", () => showCopy("Copy", ""));

byId("broker").textContent = broker;
byId("second-tab").href = location.href; // with its parameters
byId("connect").addEventListener("click", openSession);

// ---- Answer ---------------------------------------------------------------------------------------------------------

/**
 * By name: { path, addressed, callback, registration, answered, failed, leaving }. Without a registration while there is
 * no session; leaving while the registration is being taken back. Addressed requests, which are those to a session ID or
 * a filter, never reach the handler of a path.
 */
const handlers = new Map();

function nameOf({ path, addressed }) {
  return addressed ? `${path}, sent to this session` : path;
}

const EXAMPLES = {
  Greet: `(request, context) => ({
  hello: request.name,
  at: new Date().toISOString(),
})`,
  "Take two seconds": `async (request, context) => {
  await new Promise((done) => setTimeout(done, 2000));
  return { done: true, path: context.path };
}`,
  Reject: `(request) => {
  throw new RejectedRequestError("we are closed today");
}`,
  Fail: `(request) => {
  throw new Error("the kitchen is on fire");
}`,
  "More than JSON": `(request) => ({
  big: 9007199254740993n,
  bytes: new TextEncoder().encode("hello"),
  notANumber: NaN,
})`,
};

/** Compiles `text` to a function. @throws {Error} that says what is wrong with the text */
function compile(text) {
  let value;
  try {
    // The text comes from the person in front of this page and runs for nobody else.
    value = new Function("RejectedRequestError", `"use strict"; return (${withoutSemicolon(text)}\n);`)(
      RejectedRequestError,
    );
  } catch (error) {
    throw new Error(`This does not compile: ${error.message}`);
  }
  if (typeof value !== "function") throw new Error(`This is not a function but ${preview(value)}`);
  return value;
}

/** People end statements with a semicolon; in parentheses it would be a syntax error. */
function withoutSemicolon(text) {
  return text.trim().replace(/;+$/, "");
}

async function register(handler) {
  const { messaging } = session;
  const callback = (request, context) => answer(handler, request, context);
  handler.registration = handler.addressed
    ? messaging.addStreamHandler(handler.path, callback, { addressed: true }) // local: there is nothing to wait for
    : await messaging.addRequestHandler(handler.path, callback);
  handlers.set(nameOf(handler), handler);
  log("state", `Registered a handler for ${nameOf(handler)}`);
  showHandlers();
}

async function answer(handler, request, context) {
  log("received", `Request for ${nameOf(context)}: ${preview(request)}`);
  const started = performance.now();
  try {
    const response = await handler.callback(request, context);
    handler.answered += 1;
    log("sent", `Answered ${context.path} in ${milliseconds(performance.now() - started)}`);
    return response;
  } catch (error) {
    handler.failed += 1;
    const verb = error instanceof RejectedRequestError ? "Rejected" : "Failed to answer";
    log("problem", `${verb} ${context.path}: ${error?.message ?? error}`);
    throw error;
  } finally {
    showHandlers();
  }
}

async function unregister(handler) {
  if (handler.leaving) return;
  handler.leaving = true;
  const name = nameOf(handler);
  try {
    await handler.registration?.close();
  } catch (error) {
    // The broker may not know yet, as while there is no connection; then it goes on sending requests.
    handler.leaving = false;
    byId("answer-status").textContent = `Still answering ${name}. ${describe(error)}`;
    log("problem", `Could not unregister ${name}: ${describe(error)}`);
    return;
  }
  byId("answer-status").textContent = `No longer answering ${name}`;
  log("state", `Unregistered the handler for ${name}`);
  handlers.delete(name);
  showHandlers();
}

/** Brings the list into line with `handlers`. Rows stay where they are, so the focus stays too. */
function showHandlers() {
  const list = byId("handlers");
  const rows = new Map(Array.from(list.children, (row) => [row.dataset.name, row]));
  for (const [name, row] of rows) {
    if (handlers.has(name)) continue;
    const hadFocus = row.contains(document.activeElement);
    row.remove();
    if (hadFocus) (list.querySelector("button") ?? byId("answer-path")).focus();
  }
  for (const [name, handler] of handlers) {
    const row = rows.get(name) ?? list.appendChild(newRow(handler));
    const parts = [`${handler.answered} answered`];
    if (handler.failed > 0) parts.push(`${handler.failed} failed`);
    if (!handler.registration) parts.push("not registered now");
    row.querySelector(".count").textContent = parts.join(", ");
    row.classList.toggle("off", !handler.registration);
  }
  list.hidden = handlers.size === 0;
  byId("handlers-empty").hidden = handlers.size > 0;
  nameRegisterButton();
}

function newRow(handler) {
  const button = element("button", "", "Unregister");
  button.type = "button";
  button.setAttribute("aria-label", `Unregister ${nameOf(handler)}`);
  // Not disabled meanwhile: a disabled button loses the focus, which the next row is to get.
  button.addEventListener("click", () => unregister(handler));
  const path = element("span", "path", handler.path);
  const to = element("span", "tag", handler.addressed ? "sent to this session" : "sent to the path");
  const facts = element("div", "", path, to, element("span", "count"));
  const row = element("li", "handler", facts, button);
  row.dataset.name = nameOf(handler);
  return row;
}

/** A handler that is already in the list gets the new function; the button says so beforehand. */
function nameRegisterButton() {
  const wanted = { path: byId("answer-path").value.trim(), addressed: byId("answer-to").value === "session" };
  byId("register").textContent = handlers.has(nameOf(wanted)) ? "Replace function" : "Register";
}

byId("answer-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  const status = byId("answer-status");
  status.textContent = "";
  const path = textOf("answer-path", "Enter the path to answer, for example greetings");
  const callback = read("answer-function", compile);
  if (path === undefined || callback === undefined) return focusFirstProblem(event.target);

  const addressed = byId("answer-to").value === "session";
  const handler = { path, addressed, callback, registration: undefined, answered: 0, failed: 0, leaving: false };
  const name = nameOf(handler);
  const known = handlers.get(name);
  if (known) {
    known.callback = callback;
    status.textContent = `New function for ${name}`;
    log("state", `Exchanged the function for ${name}`);
    return;
  }
  status.textContent = "Registering …";
  try {
    if (!session) throw notConnected();
    await register(handler);
    status.textContent = `Answering ${name}`;
  } catch (error) {
    status.textContent = `Not registered. ${describe(error)}`;
    log("problem", `Could not register ${name}: ${describe(error)}`);
  }
});
byId("answer-path").addEventListener("input", nameRegisterButton);
byId("answer-to").addEventListener("change", nameRegisterButton);

for (const name of Object.keys(EXAMPLES)) byId("example").append(new Option(name, name));
byId("example").addEventListener("change", ({ target }) => {
  if (target.value) setText("answer-function", EXAMPLES[target.value]);
  target.value = "";
});
setText("answer-function", EXAMPLES.Greet);

// ---- Ask ------------------------------------------------------------------------------------------------------------

const OUTCOMES = {
  "not-sent": "The request did not leave this page. Sending it again is safe.",
  refused: "No handler ran. Sending it again is safe.",
  failed: "A handler ran, but there is no usable answer.",
  unknown: "A handler may have run or may still be running. Sending it again could do the work twice.",
};

/** What is missing if the field of a choice under "To" is empty. Sending to a path needs no field. */
const RECIPIENTS = {
  session: "Enter a session ID, for example one copied from another tab",
  filter: "Enter a session filter, for example all",
};

let asked = 0; // how many requests so far; only the latest one shows its result

byId("ask-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  const to = byId("ask-to").value;
  const recipient = to === "path" ? "" : textOf(`ask-${to}`, RECIPIENTS[to]);
  const path = textOf("ask-path", "Enter the path to ask, for example greetings");
  const timeout = read("ask-timeout", parseTimeout);
  const request = read("ask-value", parseValue);
  if ([recipient, path, timeout, request].includes(undefined)) return focusFirstProblem(event.target);

  asked += 1;
  const number = asked;
  const showLatest = (...content) => {
    if (number === asked) byId("result").replaceChildren(...content);
  };
  const where = to === "path" ? path : `${path}, ${to} ${recipient}`;
  showLatest(element("p", "waiting", `Waiting for an answer from ${where} …`));
  log("sent", `Asked ${where}: ${preview(request.value)}`);
  const started = performance.now();
  const elapsed = () => milliseconds(performance.now() - started);
  try {
    if (!session) throw notConnected();
    const ask = to === "filter" ? askEvery : askOne;
    showLatest(...(await ask({ path, recipient, value: request.value, options: timeout.options, where, elapsed })));
  } catch (error) {
    const time = elapsed();
    log("problem", `No answer from ${where} after ${time}: ${describe(error)}`);
    showLatest(...errorParts(error, time, recipient));
  }
});

/** What to show of the answer of one session. */
async function askOne({ path, recipient, value, options, where, elapsed }) {
  const { messaging } = session;
  const response = await (recipient
    ? messaging.sendRequestToSession(path, recipient, value, options)
    : messaging.sendRequestToPath(path, value, options));
  const time = elapsed();
  log("received", `Answer from ${where} after ${time}: ${preview(response)}`);
  return [resultLine("good", "Answer", time), answerText(show(response))];
}

/** How many sessions a filter matches, and a list to which each response adds itself when it arrives. */
async function askEvery({ path, recipient: filter, value: request, options, elapsed }) {
  const tally = element("span");
  tally.setAttribute("aria-live", "off"); // the new lines say it
  const list = element("ol", "responses");
  list.setAttribute("aria-label", "Responses");
  list.setAttribute("aria-atomic", "false"); // only what is new is read out, not the whole result again
  list.tabIndex = 0; // many responses scroll, also by keyboard
  const onResponse = ({ sessionId, value, error, received, expected }) => {
    const time = elapsed();
    const from = `${path}, session ${sessionId}`;
    if (error) log("problem", `No answer from ${from} after ${time}: ${describe(error)}`);
    else log("received", `Answer from ${from} after ${time}: ${preview(value)}`);
    tally.textContent = `${received} of ${expected} responses`;
    if (received <= MAX_RESPONSE_LINES) list.append(responseLine(sessionId, value, error, time));
  };
  const count = await session.messaging.sendRequestToFilter(filter, path, request, { ...options, onResponse });
  const time = elapsed();
  const matches = count < 2 ? `${count || "No"} session matches` : `${count} sessions match`;
  log("state", `${matches} the filter ${filter}`);
  if (count === 0) return [resultLine("", matches, time)];
  tally.textContent ||= `0 of ${count} responses`;
  return [resultLine("good", matches, time, tally), list];
}

function responseLine(sessionId, value, error, time) {
  const from = sessionId === session.id ? `${sessionId} (this tab)` : sessionId;
  if (error) return element("li", "", resultLine("bad", from, time, error.outcome), element("p", "", describe(error)));
  return element("li", "", resultLine("good", from, time), element("p", "code", preview(value)));
}

/** `tag`: the outcome of an error, or how many responses there are. */
function resultLine(className, title, time, tag) {
  const line = element("p", `verdict ${className}`, element("strong", "", title));
  if (tag) line.append(" ", element("span", "tag", tag));
  line.append(" ", element("span", "time", time));
  return line;
}

function answerText(text) {
  const block = element("pre", "code", text);
  block.tabIndex = 0; // a long answer scrolls, also by keyboard
  return block;
}

function errorParts(error, time, filter) {
  const parts = [resultLine("bad", error.code ?? error.name ?? "Error", time, error.outcome)];
  if (error instanceof InvalidFilterError) parts.push(...faultParts(filter, error.errors));
  else parts.push(element("p", "message", error.message || String(error)));
  if (error.outcome in OUTCOMES) parts.push(element("p", "hint", OUTCOMES[error.outcome]));
  return parts;
}

/** Lists the faults of a filter, each with its line and a mark at its column. Columns count code points from 0. */
function faultParts(filter, faults) {
  const lines = filter.split("\n");
  return faults.flatMap(({ message, line, column }) => {
    const characters = Array.from(lines[line - 1] ?? "");
    const rest = characters.slice(column).join("");
    const wrong = rest.match(/^(?:[$\w]+|.)/u)?.[0] ?? ""; // nothing where the filter ends too early
    const marked = [characters.slice(0, column).join(""), element("mark", "", wrong), rest.slice(wrong.length)];
    const where = element("strong", "", `Line ${line}, column ${column}: `);
    return [element("p", "message", where, message), element("pre", "code", ...marked)];
  });
}

/** Shows only the field of the choice under "To"; problems of hidden fields do not prevent sending. */
function showRecipient() {
  for (const to of Object.keys(RECIPIENTS)) {
    const field = byId(`ask-${to}`);
    field.parentElement.hidden = byId("ask-to").value !== to;
    showProblem(field, "");
  }
}

byId("ask-to").addEventListener("change", showRecipient);

function parseValue(text) {
  if (text.trim() === "") throw new Error('Enter a JSON value, for example null or { "name": "Ada" }');
  try {
    return { value: JSON.parse(text) };
  } catch (error) {
    throw new Error(`This is not JSON: ${error.message}`);
  }
}

function parseTimeout(text) {
  const timeout = Number(text);
  // A number field reports text it cannot read as empty.
  if (byId("ask-timeout").validity.badInput || (text !== "" && !(timeout > 0))) {
    throw new Error("Enter a number of milliseconds above 0, or leave it empty");
  }
  return { options: text === "" ? {} : { timeout } };
}

if (/Mac|iPhone|iPad/.test(navigator.userAgent)) byId("modifier").textContent = "⌘";

// ---- Fields, for both forms -----------------------------------------------------------------------------------------

/** The result of `parse` for a field's text; undefined if it fails, with the problem shown beside the field. */
function read(id, parse) {
  const field = byId(id);
  try {
    const value = parse(field.value);
    showProblem(field, "");
    return value;
  } catch (error) {
    showProblem(field, error.message);
    return undefined;
  }
}

function textOf(id, ifEmpty) {
  return read(id, (text) => {
    if (text.trim() === "") throw new Error(ifEmpty);
    return text.trim();
  });
}

function setText(id, text) {
  byId(id).value = text;
  showProblem(byId(id), "");
}

function showProblem(field, problem) {
  byId(`${field.id}-problem`).textContent = problem;
  if (problem) field.setAttribute("aria-invalid", "true");
  else field.removeAttribute("aria-invalid");
}

function focusFirstProblem(form) {
  form.querySelector("[aria-invalid]").focus();
}

for (const form of document.forms) {
  form.addEventListener("input", ({ target }) => {
    if (target.hasAttribute("aria-invalid")) showProblem(target, "");
  });
  form.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey)) return;
    event.preventDefault();
    form.requestSubmit();
  });
}

// ---- Log ------------------------------------------------------------------------------------------------------------

/** `kind`: state, sent, received or problem. */
function log(kind, text) {
  const now = new Date();
  const time = element("time", "", clock.format(now));
  time.dateTime = now.toISOString();
  const lines = byId("log");
  const line = element("li", "", time, element("span", "sign"), element("span", "", text));
  line.dataset.kind = kind;
  lines.prepend(line);
  while (lines.childElementCount > MAX_LOG_LINES) lines.lastElementChild.remove();
}

byId("clear-log").addEventListener("click", () => byId("log").replaceChildren());

openSession();
