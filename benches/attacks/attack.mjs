// `npm run attack -- NAME... [--broker BINARY] [--seconds N] [-- ARGUMENTS]`: what attacks on a broker do to its memory and
// to a neighbour who sends 100 requests a second. Without names, all of them; BINARY is the broker, with these arguments.

import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";
import { broker as ours } from "../../scripts/lib/paths.mjs";
import { Failure, isMain, main, say } from "../../scripts/lib/run.mjs";
import { startBroker } from "../../tests/support/broker.mjs";
import { forgetPeak, peak, resident } from "../../tests/support/process.mjs";
import { attacks } from "./attacks.mjs";
import { neighbour } from "./neighbour.mjs";

const AFTERWARDS = 15; // s, in which what an attack has taken is to come back

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
    // Whoever did not read does now, to the end.
    for (const { socket } of held) socket.resume();
    await Promise.race([Promise.all(held.map(({ closed }) => closed)), sleep(3000)]);
    const open = held.filter(({ socket }) => !socket.destroyed).length;
    const reasons = {};
    for (const { incoming } of held) {
      const { code, reason } = incoming.close ?? {};
      if (code !== undefined) reasons[`${code} ${reason}`] = (reasons[`${code} ${reason}`] ?? 0) + 1;
    }
    const logged = {};
    for (const [, reason] of broker.log().matchAll(/\bclosed: (slow|overdue|crowded)/g)) {
      logged[reason] = (logged[reason] ?? 0) + 1;
    }
    return { alone, attacked, start, most, end, left, open, reasons, logged };
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
    const { alone, attacked, start, most, end, left, open, reasons, logged } = result;
    const mib = (number) => `${number.toFixed(0)} MiB`;
    say(
      `${name}: neighbour's p50 ${alone.p50.toFixed(1)} to ${attacked.p50.toFixed(1)} ms, p99 ${alone.p99.toFixed(1)} to ` +
        `${attacked.p99.toFixed(1)} ms, ${attacked.failed} of ${attacked.requests} failed; memory ${mib(start)}, at most ` +
        `${mib(most)}, at the end ${mib(end)}, ${AFTERWARDS} s later ${mib(left)}; ${open} connections still open; ` +
        `closed: ${JSON.stringify(reasons)}, by the log ${JSON.stringify(logged)}`,
    );
  }
  if (process.platform !== "linux") throw new Failure("memory is looked up as Linux tells it");
}

if (isMain(import.meta.url)) await main(attack);
