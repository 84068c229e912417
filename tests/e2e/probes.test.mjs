// A handler that is late is probed: one whose connection is dead is found out, and a page that is only busy keeps its own.

import assert from "node:assert/strict";
import { after, test } from "node:test";
import { connect } from "antiphon";
import { WebSocket } from "ws";
import { startBroker } from "../support/broker.mjs";
import { launchBrowser } from "../support/browser.mjs";
import { startCutter } from "../support/cutter.mjs";
import { assembleBlankPages } from "./support/blank.mjs";
import { openSession } from "./support/session.mjs";

const broker = await startBroker(["--www", assembleBlankPages(), "--probe-timeout", "500ms", "--log", "debug"]);
const between = await startCutter(broker);
const browser = await launchBrowser();
after(async () => {
  await browser.close();
  await between.stop();
  await broker.stop();
});

const options = { webSocket: WebSocket, log: "off" };

test("L-9 a handler among three whose connection is half open gets nothing once it was probed", async () => {
  const sessions = await Promise.all([between.url, broker.url, broker.url].map((url) => connect(url, options)));
  const [halfOpen] = sessions;
  for (const { id, messaging } of sessions) await messaging.addRequestHandler("three", () => id);
  const sender = await connect(broker.url, options);
  between.freeze();

  const open = new Set();
  const ask = () => {
    const answer = sender.messaging.sendRequestToPath("three", null, { timeout: 60_000 });
    open.add(answer);
    answer.then(() => open.delete(answer));
    return answer;
  };
  for (let asked = 0; asked < 30; asked += 1) ask();
  await broker.logged(new RegExp(`late with an answer: probed session=${halfOpen.id}`));
  const answers = await Promise.all(Array.from({ length: 200 }, ask));
  assert.equal(answers.includes(halfOpen.id), false);
  const swallowed = [...open];
  assert.ok(swallowed.length > 0);

  while (await sender.messaging.countSessions(`$SessionId is '${halfOpen.id}'`)); // those that have a connection
  const lost = new Promise((resolve) => halfOpen.on("disconnect", resolve));
  between.open();
  await lost;
  for (const answer of swallowed) assert.equal(await answer, halfOpen.id);
  for (const session of [...sessions, sender]) await session.close();
});

test("L-9 a page that is too busy to answer for long keeps its connection", async () => {
  const page = await browser.newPage();
  await page.goto(broker.httpUrl);
  await openSession(page, { url: broker.url, name: "busy" });
  await page.evaluate(() =>
    session.messaging.addRequestHandler("busy/work", (milliseconds) => {
      const end = performance.now() + milliseconds;
      while (performance.now() < end);
      return "done";
    }),
  );
  const sender = await connect(broker.url, options);
  assert.equal(await sender.messaging.sendRequestToPath("busy/work", 4500), "done");
  assert.deepEqual(await page.evaluate(() => told.map(([event]) => event)), []);
  await sender.close();
  await page.close();
});
