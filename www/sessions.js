// The sessions that there are, to pick one from. Nothing but messaging is needed for that: each tab answers requests
// that are addressed to its session at one path, and a request to the filter "all" gets an answer or an error of each.

import { ALL_USER_PROPERTIES, escapeFilter } from "antiphon";
import { handlers } from "./answer.js";
import { chooseRecipient } from "./ask.js";
import { byId, element } from "./fields.js";
import { PRESENCE } from "./messages.js";
import { onSession, principalOf, session } from "./session.js";

const MAX_ROWS = 100;
const PATIENCE = 3000; // ms; a frozen tab does not answer

let looks = 0; // only the latest one shows

async function whoAmI() {
  const paths = Array.from(handlers.values(), ({ path }) => path);
  return {
    path: PRESENCE,
    principal: session.principal,
    properties: await session.getProperties([ALL_USER_PROPERTIES]),
    paths: [...new Set(paths)],
  };
}

async function look() {
  if (session?.state !== "connected") return;
  looks += 1;
  const thisLook = looks;
  const found = [];
  try {
    const gathering = session.messaging.gather("all", PRESENCE, null, { timeout: PATIENCE });
    for await (const one of gathering) found.push(one);
  } catch {
    // Those that did not answer in time are not shown, and without a connection there is nothing to show.
  }
  if (thisLook === looks) showSessions(found);
}

/** This tab first, then the other tabs, then what only has a session. Rows stay, so that the focus stays too. */
function showSessions(found) {
  const rank = ({ sessionId, value }) => (sessionId === session.id ? 0 : value ? 1 : 2);
  found.sort((one, other) => rank(one) - rank(other) || one.sessionId.localeCompare(other.sessionId));
  const list = byId("sessions");
  const rows = new Map(Array.from(list.children, (row) => [row.dataset.content, row]));
  const shown = found.slice(0, MAX_ROWS).map(({ sessionId, value }) => {
    const content = JSON.stringify([sessionId, value ?? null, sessionId === session.id]);
    return rows.get(content) ?? newRow(content, sessionId, value);
  });
  const focus = document.activeElement;
  list.replaceChildren(...shown);
  if (shown.some((row) => row.contains(focus))) focus.focus();
  else if (focus !== document.activeElement) byId("look").focus();
  byId("sessions-count").textContent =
    found.length > MAX_ROWS ? `${MAX_ROWS} of ${found.length} sessions` : sessions(found.length);
}

const sessions = (count) => `${count} session${count === 1 ? "" : "s"}`;

function newRow(content, sessionId, value) {
  const row = element("li", "handler");
  row.dataset.content = content;
  const ask = button("Ask", `Ask session ${sessionId}`, () => chooseRecipient("session", sessionId));
  const facts = element("div", "", element("code", "", sessionId));
  if (sessionId === session.id) facts.append(element("span", "tag", "this tab"));
  if (value) facts.append(element("span", "count", principalOf(value)));
  else facts.append(element("span", "count", "another program"));
  for (const path of value?.paths ?? []) facts.append(element("span", "count", `answers ${path}`));
  for (const [key, text] of Object.entries(value?.properties ?? {})) {
    const filter = `${key} is '${escapeFilter(text)}'`;
    facts.append(button(filter, `Ask every session where ${filter}`, () => chooseRecipient("filter", filter), "small"));
  }
  row.append(facts, ask);
  return row;
}

function button(text, label, act, className = "") {
  const made = element("button", className, text);
  made.type = "button";
  made.setAttribute("aria-label", label);
  made.addEventListener("click", act);
  return made;
}

onSession(
  (opened) => {
    opened.messaging.addStreamHandler(PRESENCE, whoAmI, { addressed: true });
    opened.on("reconnect", look);
    look();
  },
  () => {
    byId("sessions").replaceChildren();
    byId("sessions-count").textContent = "";
  },
);
byId("look").addEventListener("click", look);
document.addEventListener("visibilitychange", () => document.hidden || look()); // somebody comes back from another tab
