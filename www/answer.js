// The left half: functions in this tab that answer requests.

import { RejectedRequestError } from "antiphon";
import { byId, element, focusFirstProblem, read, setText, textOf } from "./fields.js";
import { log } from "./log.js";
import { describe, notConnected, onSession, session } from "./session.js";
import { milliseconds, preview } from "./show.js";

/**
 * By name: { path, addressed, callback, registration, answered, failed, leaving }. Without a registration while there is
 * no session; leaving while the registration is being taken back. Addressed requests, which are those to a session ID or
 * a filter, never reach the handler of a path.
 */
export const handlers = new Map();

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
  "Stop if the sender gives up": `(request, { signal }) =>
  new Promise((done, stop) => {
    setTimeout(done, 2000, { done: true });
    signal.addEventListener("abort", () => stop(signal.reason));
  })`,
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
    if (context.signal.aborted) {
      log("notice", `Stopped answering ${context.path}: ${error?.message ?? error}`);
      throw error;
    }
    handler.failed += 1;
    const isRefusal = error instanceof RejectedRequestError;
    const verb = isRefusal ? "Rejected" : "Failed to answer";
    log(isRefusal ? "notice" : "problem", `${verb} ${context.path}: ${error?.message ?? error}`);
    throw error;
  } finally {
    showHandlers();
  }
}

async function unregister(handler) {
  if (handler.leaving) return;
  handler.leaving = true;
  const name = nameOf(handler);
  await handler.registration?.close();
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

onSession(
  () => {
    // A closed session took its registrations along; the functions are still in the list.
    for (const handler of handlers.values()) {
      register(handler).catch((error) =>
        log("problem", `Could not register ${nameOf(handler)} again: ${describe(error)}`),
      );
    }
  },
  () => {
    for (const handler of handlers.values()) handler.registration = undefined;
    showHandlers();
  },
);
