// The page in four parts, in the order of the page: connection, answer, ask, log.
// Everything from outside is put in as text (textContent), never as markup.

import { connect, RejectedRequestError } from "antiphon";
import { milliseconds, preview, show } from "./show.js";

const MAX_LOG_LINES = 200;
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
  showState(opened.state);
  log("state", `Connected as ${principalOf(opened)}, session ${opened.id}`);

  opened.on("statechange", ({ to }) => {
    if (to !== "closed") showState(to); // the reason for closing comes with `closed`
  });
  opened.on("disconnect", ({ reason }) => log("problem", `Disconnected: ${reason}`));
  opened.on("reconnect", ({ lossless, newSession }) => {
    showState(opened.state); // the session ID may be a new one
    const kept = lossless ? "nothing was lost" : "messages were lost";
    log("state", newSession ? `Reconnected with a new session, ${opened.id}` : `Reconnected, ${kept}`);
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
    register(handler).catch((error) => log("problem", `Could not register ${handler.path} again: ${describe(error)}`));
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
  if (hadFocus && button.hidden) byId("answer-path").focus(); // a focus on what is hidden would be lost
}

function principalOf({ principal }) {
  return principal === "" ? "anonymous" : principal;
}

/** An error on one line: its code, where it has one, and its message. */
function describe(error) {
  if (!(error instanceof Error)) return String(error);
  return `${error.code ?? error.name}: ${error.message}`;
}

/** What a session would say, for the time before there is one. */
function notConnected() {
  return Object.assign(new Error("there is no session yet"), { code: "NOT_CONNECTED", outcome: "not-sent" });
}

byId("broker").textContent = broker;
byId("second-tab").href = location.href; // with its parameters
byId("connect").addEventListener("click", openSession);
// Without this the broker would keep the session of a closed tab for a while, and send requests to it.
addEventListener("pagehide", () => session?.close());
addEventListener("pageshow", async ({ persisted }) => {
  if (!persisted) return;
  await session?.closed; // by pagehide, before the browser put the page into its back/forward cache
  openSession();
});

// ---- Answer ---------------------------------------------------------------------------------------------------------

/** By path: { path, callback, registration, answered, failed }. Without a registration while there is no session. */
const handlers = new Map();

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

/** The function that `text` says. @throws {Error} that tells the reader what is wrong with the text */
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
  handler.registration = await session.messaging.addRequestHandler(handler.path, (request, context) =>
    answer(handler, request, context),
  );
  handlers.set(handler.path, handler);
  log("state", `Registered a handler for ${handler.path}`);
  showHandlers();
}

async function answer(handler, request, context) {
  log("received", `Request for ${context.path}: ${preview(request)}`);
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
  try {
    await handler.registration?.close();
    byId("answer-status").textContent = `No longer answering ${handler.path}`;
    log("state", `Unregistered the handler for ${handler.path}`);
  } catch (error) {
    log("problem", `Could not unregister ${handler.path}: ${describe(error)}`);
  }
  if (handlers.get(handler.path) === handler) handlers.delete(handler.path);
  showHandlers();
}

/** Brings the list into line with `handlers`. Rows stay where they are, so the focus stays too. */
function showHandlers() {
  const list = byId("handlers");
  const rows = new Map(Array.from(list.children, (row) => [row.dataset.path, row]));
  for (const [path, row] of rows) {
    if (handlers.has(path)) continue;
    const hadFocus = row.contains(document.activeElement);
    row.remove();
    if (hadFocus) (list.querySelector("button") ?? byId("answer-path")).focus();
  }
  for (const handler of handlers.values()) {
    const row = rows.get(handler.path) ?? list.appendChild(newRow(handler));
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
  button.setAttribute("aria-label", `Unregister ${handler.path}`);
  // Once, and not disabled meanwhile: a disabled button loses the focus, which the next row is to get.
  button.addEventListener("click", () => unregister(handler), { once: true });
  const facts = element("div", "", element("span", "path", handler.path), element("span", "count"));
  const row = element("li", "handler", facts, button);
  row.dataset.path = handler.path;
  return row;
}

/** For a path in the list the function is exchanged; the button says so beforehand. */
function nameRegisterButton() {
  byId("register").textContent = handlers.has(byId("answer-path").value.trim()) ? "Replace function" : "Register";
}

byId("answer-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  const status = byId("answer-status");
  status.textContent = "";
  const path = textOf("answer-path", "Enter the path to answer, for example greetings");
  const callback = read("answer-function", compile);
  if (path === undefined || callback === undefined) return focusFirstProblem(event.target);

  const known = handlers.get(path);
  if (known) {
    known.callback = callback;
    status.textContent = `New function for ${path}`;
    log("state", `Exchanged the function for ${path}`);
    return;
  }
  status.textContent = "Registering …";
  const handler = { path, callback, registration: undefined, answered: 0, failed: 0 };
  try {
    if (!session) throw notConnected();
    await register(handler);
    status.textContent = `Answering ${path}`;
  } catch (error) {
    status.textContent = `Not registered. ${describe(error)}`;
    log("problem", `Could not register ${path}: ${describe(error)}`);
  }
});
byId("answer-path").addEventListener("input", nameRegisterButton);

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

let asked = 0; // how many requests so far; only the latest one shows its result

byId("ask-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  const path = textOf("ask-path", "Enter the path to ask, for example greetings");
  const timeout = read("ask-timeout", parseTimeout);
  const request = read("ask-value", parseValue);
  if ([path, timeout, request].includes(undefined)) return focusFirstProblem(event.target);

  asked += 1;
  const number = asked;
  const showLatest = (...content) => {
    if (number === asked) byId("result").replaceChildren(...content);
  };
  showLatest(element("p", "waiting", `Waiting for an answer from ${path} …`));
  log("sent", `Asked ${path}: ${preview(request.value)}`);
  const started = performance.now();
  try {
    if (!session) throw notConnected();
    const response = await session.messaging.sendRequestToPath(path, request.value, timeout.options);
    const time = milliseconds(performance.now() - started);
    log("received", `Answer from ${path} after ${time}: ${preview(response)}`);
    showLatest(resultLine("good", "Answer", time), answerText(show(response)));
  } catch (error) {
    const time = milliseconds(performance.now() - started);
    log("problem", `No answer from ${path} after ${time}: ${describe(error)}`);
    showLatest(...errorParts(error, time));
  }
});

function resultLine(className, title, time, outcome) {
  const line = element("p", `verdict ${className}`, element("strong", "", title));
  if (outcome) line.append(" ", element("span", "tag", outcome));
  line.append(" ", element("span", "time", time));
  return line;
}

function answerText(text) {
  const block = element("pre", "code", text);
  block.tabIndex = 0; // a long answer scrolls, also by keyboard
  return block;
}

function errorParts(error, time) {
  const parts = [
    resultLine("bad", error.code ?? error.name ?? "Error", time, error.outcome),
    element("p", "message", error.message || String(error)),
  ];
  if (error.outcome in OUTCOMES) parts.push(element("p", "hint", OUTCOMES[error.outcome]));
  return parts;
}

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

/** What `parse` makes of a field's text, or undefined with the problem shown beside the field. */
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
