// A neighbour of an attack, in a process of its own: `node neighbour.mjs URL SECONDS [RATE]` sends requests to a handler, as
// many a second, and prints latencies in ms as JSON. `neighbour` runs it.

import { spawn } from "node:child_process";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { isMain, main } from "../../scripts/lib/run.mjs";
import { connectPeer } from "../../tests/rules/support/endpoint.mjs";
import { DELIVERY, ERROR, value } from "../../tests/support/wire.mjs";

/** Runs it; resolves with `{ requests, failed, p50, p99, most }`. */
export async function neighbour(broker, seconds, rate = 100) {
  const args = [fileURLToPath(import.meta.url), broker.url, String(seconds), String(rate)];
  const child = spawn(process.execPath, args, { stdio: ["ignore", "pipe", "inherit"] });
  let output = "";
  for await (const text of child.stdout.setEncoding("utf8")) output += text;
  return JSON.parse(output);
}

async function send() {
  const [url, seconds, rate] = process.argv.slice(2);
  const [sender, handler] = await Promise.all([connectPeer({ url }), connectPeer({ url })]);
  const path = `neighbour/${handler.id}`;
  await handler.register(path);
  const bytes = value("binary", Buffer.alloc(256));
  let isOver = false;
  const answers = (async () => {
    while (!isOver) handler.respond(await handler.next({ service: DELIVERY }), bytes);
  })().catch(() => {});
  const latencies = [];
  let failed = 0;
  const ask = async () => {
    const start = performance.now();
    const { type } = await sender.answerTo(sender.sendToPath(path, bytes));
    if (type === ERROR) failed += 1;
    latencies.push(performance.now() - start);
  };
  const begun = [];
  const start = performance.now();
  const end = start + Number(seconds) * 1000;
  while (performance.now() < end) {
    // What is late is made good, so that as many are sent whatever else the machine does.
    while (begun.length < ((performance.now() - start) / 1000) * Number(rate)) begun.push(ask());
    await sleep(1);
  }
  await Promise.all(begun);
  isOver = true;
  await Promise.all([sender.close(), handler.close(), answers]);
  latencies.sort((a, b) => a - b);
  const at = (part) => latencies[Math.min(latencies.length - 1, Math.floor(latencies.length * part))];
  console.log(JSON.stringify({ requests: latencies.length, failed, p50: at(0.5), p99: at(0.99), most: at(1) }));
  process.exit(0);
}

if (isMain(import.meta.url)) await main(send);
