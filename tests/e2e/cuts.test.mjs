// Sessions under load whose connections are cut, and whose requests have a key and may be repeated: each has its answer,
// no key is handled twice, and no application has to ask what became of anything. In short, or 1,000 cuts each in the long
// form of `npm run test:load`.

import assert from "node:assert/strict";
import { randomInt } from "node:crypto";
import { test } from "node:test";
import { setTimeout as passed } from "node:timers/promises";
import { connect } from "antiphon";
import { WebSocket } from "ws";
import { startBroker } from "../support/broker.mjs";
import { startFaults } from "../support/faults.mjs";

const isLong = process.env.ANTIPHON_LOAD === "long";
const CUTS = isLong ? 1000 : 60;
const ASKERS = 20;
const HANDLERS = 4;
/** Requests of each asker that are under way at a time. */
const AT_A_TIME = 4;
/** What a request is allowed, in ms: more than it needs, however often it is cut. */
const TIMEOUT = 60_000;
/** A few: what finds no connection is no attempt, however often these are cut. */
const retry = { attempts: 10 };

const options = { webSocket: WebSocket, principal: "control", credentials: "password", log: "off" };

for (const [what, args, areHandlersCut] of [
  ["whose sessions end with them", ["--reconnect-timeout", "0s"], false],
  ["whose sessions go on, as those of the handlers do", [], true],
]) {
  test(`connections ${what}`, async (t) => {
    const seed = process.env.ANTIPHON_SEED ?? String(randomInt(2 ** 40));
    t.diagnostic(`ANTIPHON_SEED=${seed}`);
    const broker = await startBroker(args);
    t.after(() => broker.stop());
    const cutting = ["--cuts-per-second", "40", "--cut-by", "reset,close,half-close,half-open", "--spare", "1s"];
    const faults = await startFaults(broker, ["--seed", seed, ...cutting]);
    t.after(() => faults.stop());

    const sessions = [];
    let cuts = 0;
    const open = async (url) => {
      const session = await connect(url, options);
      t.after(() => session.close());
      sessions.push(session);
      session.on("disconnect", () => {
        cuts += 1;
      });
      return session;
    };
    const handled = new Map();
    const handle = async (number, { idempotencyKey: key }) => {
      handled.set(key, (handled.get(key) ?? 0) + 1);
      await passed(number % 20);
      return { number };
    };
    for (let count = 0; count < HANDLERS; count += 1) {
      const { messaging } = await open(areHandlersCut ? faults.url : broker.url);
      // Some requests meet handlers that are busy.
      await messaging.addRequestHandler("cuts", handle, { maxConcurrent: 15 });
    }

    const errors = [];
    let [asked, answered] = [0, 0];
    const ask = async ({ messaging }) => {
      while (cuts < CUTS && errors.length === 0) {
        const number = asked++;
        const whenDisconnected = number % 2 ? "wait" : "fail";
        const given = { timeout: TIMEOUT, whenDisconnected, idempotencyKey: `${seed}/${number}` };
        try {
          const answer = await messaging.sendRequestToPath("cuts", number, { ...given, retry });
          if (answer.number !== number) errors.push(`${number} was answered with ${answer.number}`);
          answered += 1;
        } catch (error) {
          errors.push(`${number}: ${error.code}, ${error.outcome}, ${error.message}`);
        }
      }
    };
    const asking = [];
    for (let count = 0; count < ASKERS; count += 1) {
      const session = await open(faults.url);
      for (let each = 0; each < AT_A_TIME; each += 1) asking.push(ask(session));
    }
    await Promise.all(asking);

    t.diagnostic(`${cuts} cuts, ${asked} requests`);
    assert.deepEqual(errors, []);
    assert.equal(answered, asked);
    assert.deepEqual(
      [...handled].filter(([, times]) => times !== 1),
      [],
    );
    assert.equal(handled.size, asked);
    assert.deepEqual(
      [...new Set(sessions.map(({ state }) => state))].filter((state) => state === "closed"),
      [],
    );
  });
}
