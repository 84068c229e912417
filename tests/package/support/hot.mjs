// Applications made of the recipes in docs/frameworks.md, whose files are edited while Vite's development server runs.

import { readFileSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout } from "node:timers/promises";
import { connect } from "antiphon";
import { WebSocket } from "ws";
import { fromRoot } from "../../../scripts/lib/paths.mjs";
import { blocksIn } from "../../docs/support/programs.mjs";
import { startBroker } from "../../support/broker.mjs";
import { makeApp } from "./app.mjs";

const blocks = blocksIn(readFileSync(fromRoot("docs", "frameworks.md"), "utf8"));

/** In milliseconds: the watcher of Vite takes changes of a file within 50 for one, and tells of the first. */
const BETWEEN_EDITS = 100;

/** Makes an application of the recipes with these names, and of further files, for a broker of its own. */
export async function makeHotApp(context, name, recipes, files = {}) {
  const [app, broker] = await Promise.all([makeApp(name), startBroker()]);
  const observer = await connect(broker.url, { webSocket: WebSocket });
  context.after(async () => {
    await observer.close();
    await broker.stop();
  });
  for (const recipe of recipes) {
    const block = blocks.find(({ text }) => text.startsWith(`// ${recipe}\n`));
    if (!block) throw new Error(`no block is called ${recipe}`);
    writeFileSync(join(app, recipe), block.text.replace("ws://localhost:8080/antiphon", broker.url));
  }
  for (const [path, text] of Object.entries(files)) writeFileSync(join(app, path), text);
  let edited;
  return {
    app,
    /** Replaces texts in a file, all at once; not sooner after the edit before than a person could. */
    async edit(path, ...changes) {
      await edited;
      let text = readFileSync(join(app, path), "utf8");
      for (const [from, to] of changes) {
        if (!text.includes(from)) throw new Error(`${path} has no ${from}`);
        text = text.replaceAll(from, to);
      }
      // Into its place in one step: a file that is emptied and written again may be noticed, and run, twice.
      writeFileSync(`${app}.edited`, text);
      renameSync(`${app}.edited`, join(app, path));
      edited = setTimeout(BETWEEN_EDITS);
    },
    /** What the application answers. */
    order: (item) => observer.messaging.sendRequestToPath("orders", item),
    /** How many sessions there are besides the observer's. */
    sessions: () => observer.messaging.sendRequestToFilter(`$SessionId ne '${observer.id}'`, "nothing", null),
  };
}

/** Waits until the page would be told of an edit: before that, one goes by unnoticed. */
export const hotConnected = (page) => said(page, "[vite] connected.");

/** Waits until the page has taken an edit of this file in place. */
export const hotUpdate = (page, path) => said(page, `[vite] hot updated: ${path}`);

function said(page, text) {
  return page.waitForEvent("console", { predicate: (message) => message.text() === text });
}
