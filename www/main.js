// The page's script. Everything from outside is inserted as text (textContent), never as markup.
//
// To be read in this order: session.js, answer.js, ask.js; what is around them: sessions.js, messages.js, code.js; what
// they share: fields.js, log.js, show.js.

import "./messages.js"; // first, so that it sees what the others send when a session opens
import "./answer.js";
import "./code.js";
import { openSession } from "./session.js";
import "./sessions.js";

openSession();
