// A page under load whose connection the fault proxy cuts again and again: nothing is lost, nothing is done twice.

import assert from "node:assert/strict";
import { randomInt } from "node:crypto";
import { after, test } from "node:test";
import { startBroker } from "../support/broker.mjs";
import { launchBrowser } from "../support/browser.mjs";
import { startFaults } from "../support/faults.mjs";
import { assembleBlankPages } from "./support/blank.mjs";

const broker = await startBroker(["--www", assembleBlankPages()]);
const browser = await launchBrowser();
after(async () => {
  await browser.close();
  await broker.stop();
});

for (const [how, args] of [
  ["reset at random", ["--cuts-per-second", "8", "--cut-by", "reset,close,half-close", "--spare", "300ms"]],
  ["cut at random bytes", ["--cut-after-bytes", "2000-20000"]],
  ["cut at random frames", ["--cut-after-frames", "20-200"]],
]) {
  test(`what pages ask and answer over connections that are ${how} is answered once`, async (t) => {
    const seed = process.env.ANTIPHON_SEED ?? String(randomInt(2 ** 40));
    t.diagnostic(`ANTIPHON_SEED=${seed}`);
    const faults = await startFaults(broker, ["--seed", seed, ...args]);
    const page = await browser.newPage();
    t.after(async () => {
      await page.close();
      await faults.stop();
    });
    await page.goto(broker.httpUrl);
    const result = await page.evaluate(askAndAnswer, { url: faults.url, path: `faults/${seed}` });
    assert.deepEqual(result.wrong, []);
    assert.ok(result.asked >= 1000);
    assert.equal(result.answered, result.asked);
    assert.deepEqual(result.states, ["connected", "connected"]);
    assert.ok(result.cuts >= 5, `${result.cuts} cuts`);
    assert.equal(result.lossless, result.cuts, "all without loss");
  });
}

/**
 * In the page: one session asks another 1,000 times, 20 at a time, both through the proxy; and goes on until there have
 * been five cuts, since how many messages are in a frame, and how soon all are answered, is not for this test to say.
 */
async function askAndAnswer({ url, path }) {
  const { connect } = await import("/antiphon/index.js");
  const options = { principal: "control", credentials: "password", log: "off" };
  // A connection may be cut before it is a session.
  const open = () => connect(url, options).catch((error) => (error.retryable ? open() : Promise.reject(error)));
  const [asker, answerer] = await Promise.all([open(), open()]);
  const told = { cuts: 0, lossless: 0 };
  for (const session of [asker, answerer]) {
    session.on("disconnect", () => {
      told.cuts += 1;
    });
    session.on("reconnect", ({ lossless }) => {
      told.lossless += lossless ? 1 : 0;
    });
  }
  const [handled, wrong] = [new Set(), []];
  const handler = (number) => {
    if (handled.has(number)) wrong.push(`${number} was handled twice`);
    handled.add(number);
    return { number, padding: "x".repeat(200) };
  };
  const reconnected = (session) => new Promise((resolve) => session.on("reconnect", resolve));
  const register = async () => {
    try {
      await answerer.messaging.addRequestHandler(path, handler);
    } catch (error) {
      if (error.code !== "NOT_CONNECTED") throw error;
      await reconnected(answerer);
      await register();
    }
  };
  await register();
  let [next, answered] = [0, 0];
  const ask = async () => {
    while (next < 1000 || (told.cuts < 5 && next < 1_000_000)) {
      const number = next++;
      try {
        const response = await asker.messaging.sendRequestToPath(path, number, { whenDisconnected: "wait" });
        if (response.number !== number) wrong.push(`${number} was answered with ${response.number}`);
        answered += 1;
      } catch (error) {
        wrong.push(`${number}: ${error.code}, ${error.outcome}`);
      }
    }
  };
  await Promise.all(Array.from({ length: 20 }, ask));
  const connected = async (session) => {
    while (session.state !== "connected") await reconnected(session);
  };
  await Promise.all([asker, answerer].map(connected));
  const states = [asker.state, answerer.state];
  await Promise.all([asker.close(), answerer.close()]);
  return { asked: next, answered, wrong, states, ...told };
}
