// The right half: requests, and what comes back.

import { InvalidFilterError } from "antiphon";
import { byId, element, focusFirstProblem, read, showProblem, textOf } from "./fields.js";
import { log } from "./log.js";
import { describe, notConnected, session } from "./session.js";
import { milliseconds, preview, show } from "./show.js";

const MAX_RESPONSE_LINES = 200; // of the responses to one filter; the count beside them goes on

const OUTCOMES = {
  "not-sent": "The request did not leave this page. Sending it again is safe.",
  refused: "No handler ran. Sending it again is safe.",
  failed: "A handler ran, but there is no usable answer.",
  unknown: "A handler may have run or may still be running. Sending it again could do the work twice.",
};

/** Nobody is at fault: nobody answers there, or whoever does has declined. */
const isPlain = ({ code }) => code === "UNHANDLED_MESSAGE" || code === "REJECTED_REQUEST";

/** What a person can do about an error, by its code. */
const REMEDIES = {
  UNHANDLED_MESSAGE: "Nobody answers there yet: register a function in another tab, sent to the same path or session.",
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
    logError(error, where, time);
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
    if (error) logError(error, from, time);
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

function logError(error, where, time) {
  log(isPlain(error) ? "notice" : "problem", `No answer from ${where} after ${time}: ${describe(error)}`);
}

function responseLine(sessionId, value, error, time) {
  const from = sessionId === session.id ? `${sessionId} (this tab)` : sessionId;
  if (error)
    return element(
      "li",
      "",
      resultLine(isPlain(error) ? "plain" : "bad", from, time, error.outcome),
      element("p", "", describe(error)),
    );
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
  const className = isPlain(error) ? "plain" : "bad";
  const parts = [resultLine(className, error.code ?? error.name ?? "Error", time, error.outcome)];
  if (error instanceof InvalidFilterError) parts.push(...faultParts(filter, error.errors));
  else parts.push(element("p", "message", error.message || String(error)));
  if (error.code in REMEDIES) parts.push(element("p", "hint", REMEDIES[error.code]));
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

/** Fills in whom to ask next, for a person who chose among the sessions: `to` is "session" or "filter". */
export function chooseRecipient(to, recipient) {
  byId("ask-to").value = to;
  showRecipient();
  byId(`ask-${to}`).value = recipient;
  byId(`ask-${to}`).focus();
  byId("ask-form").dispatchEvent(new Event("input"));
}

export function parseValue(text) {
  if (text.trim() === "") throw new Error('Enter a JSON value, for example null or { "name": "Ada" }');
  try {
    return { value: JSON.parse(text) };
  } catch (error) {
    throw new Error(`This is not JSON: ${error.message}`);
  }
}

export function parseTimeout(text) {
  const timeout = Number(text);
  // A number field reports text it cannot read as empty.
  if (byId("ask-timeout").validity.badInput || (text !== "" && !(timeout > 0))) {
    throw new Error("Enter a number of milliseconds above 0, or leave it empty");
  }
  return { options: text === "" ? {} : { timeout } };
}

if (/Mac|iPhone|iPad/.test(navigator.userAgent)) byId("modifier").textContent = "⌘";
