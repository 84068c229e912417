// The log: what happened in this tab, newest first.

import { byId, element } from "./fields.js";

const MAX_LINES = 200;
const clock = new Intl.DateTimeFormat("en-GB", {
  hour: "2-digit",
  minute: "2-digit",
  second: "2-digit",
  fractionalSecondDigits: 3,
});

/** A line of the log. `kind`: state, sent, received, notice, or problem for what is somebody's fault. */
export function log(kind, text) {
  addLine(byId("log"), kind, element("span", "", text));
}

/** Puts a line with the time on top of a list that keeps the latest ones. */
export function addLine(lines, kind, ...content) {
  const now = new Date();
  const time = element("time", "", clock.format(now));
  time.dateTime = now.toISOString();
  const line = element("li", "", time, element("span", "sign"), ...content);
  line.dataset.kind = kind;
  lines.prepend(line);
  while (lines.childElementCount > MAX_LINES) lines.lastElementChild.remove();
}

byId("clear-log").addEventListener("click", () => byId("log").replaceChildren());
byId("clear-messages").addEventListener("click", () => byId("messages").replaceChildren());
