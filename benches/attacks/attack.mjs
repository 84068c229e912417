// `npm run attack -- NAME... [--broker BINARY] [--seconds N] [-- ARGUMENTS]`: what attacks on a broker do to its memory and
// to a neighbour who sends 100 requests a second. Without names, all of them; BINARY is the broker, with these arguments.

import { spawn } from "node:child_process";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";
import { broker as ours, target } from "../../scripts/lib/paths.mjs";
import { Failure, isMain, main, say } from "../../scripts/lib/run.mjs";
import { startBroker } from "../../tests/support/broker.mjs";
import { forgetPeak, peak, resident } from "../../tests/support/process.mjs";
import { attacks } from "./attacks.mjs";

const AFTERWARDS = 20; // s, in which what an attack has taken is to come back

/** Sends 100 requests a second for so long; resolves with the 50th and 99th of 100 latencies in ms, and failures. */
export async function neighbour(broker, seconds) {
  const args = ["--url", broker.url, "--sessions", "4", "--handlers", "2", "--rate", "100"];
  const child = spawn(join(target, "release", "antiphon-load"), [...args, "--duration", `${seconds}s`, "--json"], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  let output = "";
  for await (const text of child.stdout.setEncoding("utf8")) output += text;
  const { requests, errors, latency } = JSON.parse(output).kinds.path;
  const failed = Object.values(errors).reduce((sum, count) => sum + count, 0);
  return { p50: latency.p50 / 1000, p99: latency.p99 / 1000, requests, failed };
}

/** Carries out an attack; resolves with what it did. */
export async function carryOut(name, { binary = ours, args = [], seconds = 10 } = {}) {
  const broker = await startBroker(args, { binary });
  const held = [];
  try {
    const alone = await neighbour(broker, 3);
    const start = resident(broker);
    forgetPeak(broker);
    const beside = neighbour(broker, seconds);
    await sleep(200);
    const attack = attacks[name]({ broker, held, seconds: seconds - 1 });
    const [attacked] = await Promise.all([beside, attack]);
    const most = peak(broker);
    const end = resident(broker);
    await sleep(AFTERWARDS * 1000);
    const left = resident(broker);
    const open = held.filter(({ socket }) => !socket.destroyed).length;
    const reasons = {};
    for (const { socket } of held) socket.resume();
    await sleep(500);
    for (const { incoming } of held) {
      const { code, reason } = incoming.close ?? {};
      if (code !== undefined) reasons[`${code} ${reason}`] = (reasons[`${code} ${reason}`] ?? 0) + 1;
    }
    return { alone, attacked, start, most, end, left, open, reasons };
  } finally {
    for (const { socket } of held) socket.destroy();
    await broker.stop();
  }
}

async function attack() {
  const { values, positionals } = parseArgs({
    options: { broker: { type: "string" }, seconds: { type: "string" } },
    allowPositionals: true,
  });
  const isName = (text) => text in attacks;
  const names = positionals.filter(isName);
  const seconds = Number(values.seconds ?? 10);
  for (const name of names.length > 0 ? names : Object.keys(attacks)) {
    const args = positionals.filter((text) => !isName(text));
    const result = await carryOut(name, { binary: values.broker, args, seconds });
    const { alone, attacked, start, most, end, left, open, reasons } = result;
    const mib = (number) => `${number.toFixed(0)} MiB`;
    say(
      `${name}: neighbour's p50 ${alone.p50.toFixed(1)} to ${attacked.p50.toFixed(1)} ms, p99 ${alone.p99.toFixed(1)} to ` +
        `${attacked.p99.toFixed(1)} ms, ${attacked.failed} of ${attacked.requests} failed; memory ${mib(start)}, at most ` +
        `${mib(most)}, at the end ${mib(end)}, ${AFTERWARDS} s later ${mib(left)}; ${open} connections still open; ` +
        `closed: ${JSON.stringify(reasons)}`,
    );
  }
  if (process.platform !== "linux") throw new Failure("memory is looked up as Linux tells it");
}

if (isMain(import.meta.url)) await main(attack);
