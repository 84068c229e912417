// What goes over the wire: every message of this session as `session.inspect` shows it.

import { byId, element } from "./fields.js";
import { addLine } from "./log.js";
import { onSession } from "./session.js";
import { preview } from "./show.js";

/** Where tabs say who they are, for the list of sessions. Messages about that are no news to anybody. */
export const PRESENCE = "antiphon/try-it/presence";

onSession((session) => session.inspect(show, { values: true }));

const hidden = new Set(); // conversations in which other tabs answered who they are, until that is confirmed

function show(message) {
  if (isAboutSessions(message)) return;
  const { direction, kind, service, conversation, path, type, size, value } = message;
  const text = [kind, path, type && preview(value)].filter(Boolean).join(" ");
  const facts = [service, `no. ${conversation}`, type, `${size} bytes`].filter(Boolean).join(", ");
  addLine(
    byId("messages"),
    direction === "out" ? "sent" : "received",
    element("span", "", text, " ", element("small", "", facts)),
  );
}

/** Whether a message belongs to the page's own looks at the sessions. Their answers have no path. */
function isAboutSessions({ direction, service, conversation, path, value }) {
  if (path === PRESENCE || service.endsWith("SESSION_PROPERTIES")) return true;
  if (service !== "FILTER_RESPONSE") return false;
  if (direction === "out") return hidden.delete(conversation);
  return value?.path === PRESENCE && hidden.add(conversation);
}
