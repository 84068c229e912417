// Empty pages with the package beside them, for `--www`.

import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { filesBelow, fillFolder } from "../../../scripts/lib/files.mjs";
import { dist, fromRoot } from "../../../scripts/lib/paths.mjs";

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

/** Fills the folder and gives its path. */
export function assembleBlankPages() {
  if (!existsSync(join(dist, "index.js"))) throw new Error("no dist/: npm run build");
  const folder = fromRoot("build", "blank");
  const files = new Map();
  for (const path of filesBelow(dist)) files.set(join("antiphon", path), readFileSync(join(dist, path)));
  for (const page of ["index.html", "other.html"]) files.set(page, PAGE);
  files.set("worker.js", WORKER);
  fillFolder(folder, files);
  return folder;
}
