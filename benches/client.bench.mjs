// Compares two builds of the package, request and response through a broker: node benches/client.bench.mjs DIST [OTHER_DIST]
// DIST and OTHER_DIST are folders such as `dist`, the second one that of this folder if it is not named. Both run at the
// same time and take turns, so that a busy machine disturbs neither more than the other. ROUNDS is the number of turns
// (default 15), TURN their length in milliseconds (default 300). In Node.js, asker and answerer share a process, and its CPU
// time is measured; in the browser, which is left out with BROWSER=no, each is a tab.

import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { join, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { WebSocket } from "ws";
import { dist } from "../scripts/lib/paths.mjs";
import { startBroker } from "../tests/support/broker.mjs";
import { launchBrowser } from "../tests/support/browser.mjs";

const folders = [process.argv[2] ?? dist, process.argv[3] ?? dist].map((folder) => resolve(folder));
const rounds = Number(process.env.ROUNDS ?? 15);
const turn = Number(process.env.TURN ?? 300);

const REQUESTS = {
  number: 42,
  "300 B of JSON": {
    id: "2024-100001",
    customer: { name: "Ada Lovelace", email: "ada@example.com", since: 1843 },
    lines: [{ sku: "AB-1001", name: "Espresso cup", quantity: 2, price: 4.25, taxed: true, tags: ["kitchen"] }],
    note: "Please ring twice and leave the parcel with the neighbour.",
  },
};
const OUTSTANDING = [1, 256];

/** Runs where the package is: opens a session that answers at `path`. */
async function answer({ module, url, path, options }) {
  const { connect } = await import(module);
  const session = await connect(url, options);
  await session.messaging.addRequestHandler(path, (request) => request);
  return session;
}

/** Runs where the package is: opens a session; returns a function that asks for a while and gives requests per second. */
async function asker({ module, url, path, options }) {
  const { connect } = await import(module);
  const { messaging } = await connect(url, options);
  return async (request, outstanding, turn) => {
    // Where it can be told, the time that this process was at work: others may be at work as well.
    const clock = () => {
      const { user, system } = globalThis.process?.cpuUsage() ?? {};
      return user === undefined ? performance.now() : (user + system) / 1000;
    };
    const [start, startClock] = [performance.now(), clock()];
    let count = 0;
    const ask = async () => {
      while (performance.now() - start < turn) {
        await messaging.sendRequestToPath(path, request);
        count += 1;
      }
    };
    await Promise.all(Array.from({ length: outstanding }, ask));
    return (count * 1000) / (clock() - startClock);
  };
}

const broker = await startBroker();
const median = (numbers) => numbers.toSorted((a, b) => a - b)[numbers.length >> 1];

/** Lets two `ask` functions take turns. */
async function compare(where, asks) {
  for (const [what, request] of Object.entries(REQUESTS)) {
    for (const outstanding of OUTSTANDING) {
      for (const ask of asks) await ask(request, outstanding, turn);
      const speeds = [[], []];
      for (let round = 0; round < rounds; round++) {
        for (const i of round % 2 ? [1, 0] : [0, 1]) speeds[i].push(await asks[i](request, outstanding, turn));
      }
      const [one, other] = speeds.map(median);
      const perSecond = (speed) => `${Math.round(speed).toLocaleString("en").padStart(7)}/s`;
      console.log(
        `${where.padEnd(8)} ${what.padEnd(14)} ${String(outstanding).padStart(3)} outstanding` +
          `  ${perSecond(one)}  ${perSecond(other)}  ratio ${(other / one).toFixed(3)}`,
      );
    }
  }
}

async function inNode() {
  const asks = [];
  for (const [index, folder] of folders.entries()) {
    const module = pathToFileURL(join(folder, "inline.js")).href;
    const given = { module, url: broker.url, path: `node/${index}`, options: { webSocket: WebSocket, log: "off" } };
    await answer(given);
    asks.push(await asker(given));
  }
  await compare("Node.js", asks);
}

async function inBrowser() {
  const types = { js: "text/javascript", wasm: "application/wasm" };
  const server = createServer((request, response) => {
    const [, index, name] = /^\/(\d)\/([\w.]+)$/.exec(request.url) ?? [];
    if (name === undefined) return response.writeHead(200, { "Content-Type": "text/html" }).end("<!doctype html>");
    response.writeHead(200, { "Content-Type": types[name.split(".").at(-1)] });
    response.end(readFileSync(join(folders[index], name)));
  });
  await new Promise((listening) => server.listen(0, "127.0.0.1", listening));
  const site = `http://127.0.0.1:${server.address().port}`;
  const browser = await launchBrowser({ args: ["--disable-renderer-backgrounding"] });
  const context = await browser.newContext();
  const asks = [];
  for (const index of folders.keys()) {
    const given = { module: `${site}/${index}/index.js`, url: broker.url, path: `tab/${index}`, options: {} };
    const [theirs, ours] = [await context.newPage(), await context.newPage()];
    for (const page of [theirs, ours]) await page.goto(site);
    await theirs.evaluate(`(${answer})(${JSON.stringify(given)}).then(() => {})`);
    await ours.evaluate(`(${asker})(${JSON.stringify(given)}).then((ask) => { globalThis.ask = ask; })`);
    asks.push((...args) => ours.evaluate((args) => globalThis.ask(...args), args));
  }
  await compare("Chromium", asks);
  await browser.close();
  server.close();
}

console.log(`of ${folders.join(" and ")}: requests per second, medians of ${rounds} turns of ${turn} ms`);
await inNode();
if (process.env.BROWSER !== "no") await inBrowser();
await broker.stop();
process.exit();
