// Empty pages with the package beside them, for `--www`.

import { assemblePages } from "../../support/pages.mjs";

const PAGE = `<!doctype html>
<meta charset="utf-8">
<link rel="icon" href="data:,">
`;

/** A worker that opens a session, then does what it is told and answers. */
const WORKER = `
import { connect } from "./antiphon/index.js";

let session;
const told = [];
const commands = {
  async connect(url) {
    session = await connect(url, { reconnect: { delay: () => 10 } });
    for (const event of ["statechange", "disconnect", "reconnect", "close"]) session.on(event, () => told.push(event));
    await session.messaging.addRequestHandler("worker/echo", (request) => request);
    return typeof globalThis.window;
  },
  ask: (request) => session.messaging.sendRequestToPath("worker/echo", request, { whenDisconnected: "wait" }),
  told: () => told,
  close: () => session.close(),
};
onmessage = async ({ data: [id, command, argument] }) => {
  try {
    postMessage([id, await commands[command](argument)]);
  } catch (error) {
    postMessage([id, undefined, String(error)]);
  }
};
`;

/** Gives the folder of the pages, `index.html` and `other.html`. */
export function assembleBlankPages() {
  return assemblePages("blank", { "index.html": PAGE, "other.html": PAGE, "worker.js": WORKER });
}
