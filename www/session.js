// The session of this tab: who it is, its states, its end.

import { connect } from "antiphon";
import { byId, copies, focusFirstProblem, read } from "./fields.js";
import { log } from "./log.js";

const parameters = new URLSearchParams(location.search);
const scheme = location.protocol === "https:" ? "wss:" : "ws:";
export const broker = parameters.get("broker") ?? `${scheme}//${location.host}/antiphon`;

/** The latest session, closed or not; undefined until the first connection. */
export let session;

const whenOpened = [];
const whenClosed = [];
/** Calls `opened` with each new session, and `closed` when one has ended. */
export function onSession(opened, closed) {
  whenOpened.push(opened);
  if (closed) whenClosed.push(closed);
}

const STATES = {
  connecting: "Connecting",
  connected: "Connected",
  recovering: "Reconnecting",
  closed: "Closed",
  failed: "Not connected",
};

let attempts = 0; // to connect; only the latest one shows

/** Ends the session that there is, and opens one for whoever the fields name. */
export async function openSession() {
  const login = readLogin();
  if (!login) return;
  attempts += 1;
  const attempt = attempts;
  showState("connecting");
  await session?.close();
  log("state", `Connecting to ${broker}`);
  let opened;
  try {
    opened = await connect(broker, login);
  } catch (error) {
    if (attempt !== attempts) return;
    showState("failed", describe(error));
    log("problem", `Not connected: ${describe(error)}`);
    if (error.code === "ACCESS_DENIED") byId("login").open = true;
    return;
  }
  if (attempt !== attempts) {
    opened.close();
    return;
  }
  session = opened;
  showState("connected");
  log("state", `Connected as ${principalOf(opened)}, session ${opened.id}`);
  listen(opened);
  for (const tell of whenOpened) tell(opened);
}

/**
 * Shows what becomes of a session. Handlers need no care here: the session brings them back by itself, also where
 * messages or the session itself are lost. Only the end of the session takes them along.
 */
function listen(opened) {
  opened.on("disconnect", ({ reason }) => {
    showState("recovering"); // the reason would only move the page, for the moment that it most often takes
    log("notice", `Disconnected: ${reason}`);
  });
  opened.on("messageloss", ({ requests, handlers }) => {
    const restored = `registering ${counted(handlers, "handler")} again`;
    log("notice", `Messages were lost: ${counted(requests, "request")} failed, ${restored}`);
  });
  opened.on("reconnect", ({ lossless, newSession }) => {
    showState("connected"); // the session ID may be a new one
    const kept = lossless ? "nothing was lost" : "the session is the same";
    log("state", `Reconnected, ${newSession ? `with a new session, ${opened.id}` : kept}`);
  });
  opened.closed.then(({ code, reason, byClient }) => {
    const why = reason ? `${code}: ${reason}` : code;
    if (!byClient) showState("closed", why); // else another one is being opened
    log(byClient ? "state" : "problem", `Session closed, ${why}`);
    for (const tell of whenClosed) tell(opened);
  });
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

export function counted(number, what) {
  return `${number} ${what}${number === 1 ? "" : "s"}`;
}

export function principalOf({ principal }) {
  return principal === "" ? "anonymous" : principal;
}

/** An error on one line: its code, where it has one, and its message. */
export function describe(error) {
  if (!(error instanceof Error)) return String(error);
  return `${error.code ?? error.name}: ${error.message}`;
}

/** The error of a session, for the time before there is one. */
export function notConnected() {
  return Object.assign(new Error("there is no session yet"), { code: "NOT_CONNECTED", outcome: "not-sent" });
}

// ---- Who connects ---------------------------------------------------------------------------------------------------

/** The options for `connect` that the fields ask for; undefined if they cannot be read. */
export function readLogin() {
  const principal = byId("login-principal").value.trim();
  const credentials = byId("login-password").value;
  const properties = read("login-properties", parseProperties);
  if (properties === undefined) {
    byId("login").open = true;
    focusFirstProblem(byId("login-form"));
    return undefined;
  }
  return {
    ...(principal !== "" && { principal }),
    ...(credentials !== "" && { credentials }),
    ...(Object.keys(properties).length > 0 && { properties }),
  };
}

/** `room = lobby`, a line for each property. */
export function parseProperties(text) {
  const lines = text.split("\n").filter((line) => line.trim() !== "");
  return Object.fromEntries(
    lines.map((line) => {
      const [, key, value] = /^\s*([^\s=]+)\s*=\s*(.*?)\s*$/.exec(line) ?? [];
      if (key === undefined) throw new Error(`Enter a property a line, as key = value, not "${line.trim()}"`);
      return [key, value];
    }),
  );
}

byId("login-principal").value = parameters.get("principal") ?? "";
byId("login-password").value = parameters.get("password") ?? "";
byId("login-form").addEventListener("submit", (event) => {
  event.preventDefault();
  openSession();
});
byId("connect").addEventListener("click", openSession);

byId("broker").textContent = broker;
byId("second-tab").href = location.href; // with its parameters
copies(byId("copy-session"), "Session ID", () => byId("session-id").textContent, byId("session-id"));
