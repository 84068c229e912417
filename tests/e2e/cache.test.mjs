// Sessions of pages that are left and visited again: restored from the back/forward cache, where no connection
// survives, or loaded anew.

import assert from "node:assert/strict";
import { after, test } from "node:test";
import { connect } from "antiphon";
import { WebSocket } from "ws";
import { startBroker } from "../support/broker.mjs";
import { launchBrowser } from "../support/browser.mjs";
import { assembleBlankPages } from "./support/blank.mjs";
import { openSession, outcome, send, whenClosed, whenConnected } from "./support/session.mjs";

const ROUNDS = 20;

const broker = await startBroker(["--www", assembleBlankPages()]);
// Playwright turns the cache off unless it is told not to.
const browser = await launchBrowser({ ignoreDefaultArgs: ["--disable-back-forward-cache"] });
const forgetful = await launchBrowser();
const other = await connect(broker.url, { webSocket: WebSocket, log: "off" });
after(async () => {
  await other.close();
  await browser.close();
  await forgetful.close();
  await broker.stop();
});

/** Requests that arrive at `path` and wait to be answered. */
async function handle(path) {
  const asked = [];
  let arrived = () => {};
  await other.messaging.addRequestHandler(path, (request) => {
    const { promise, resolve } = deferred();
    asked.push(() => resolve(request));
    arrived();
    return promise;
  });
  return {
    /** Waits for one, and gives the function that answers it with itself. */
    async next() {
      while (asked.length === 0) {
        await new Promise((resolve) => {
          arrived = resolve;
        });
      }
      return asked.shift();
    },
  };
}

function deferred() {
  let resolve;
  const promise = new Promise((settle) => {
    resolve = settle;
  });
  return { promise, resolve };
}

async function openPage(from) {
  const page = await from.newPage();
  await page.goto(broker.httpUrl);
  return page;
}

const leave = (page) => page.goto(`${broker.httpUrl}other.html`);
/** Goes back to a page that is in the cache. */
async function goBack(page) {
  await page.goBack({ waitUntil: "commit" }); // it has loaded long ago
  const [isCached, reasons] = await page.evaluate(() => {
    const [{ notRestoredReasons }] = performance.getEntriesByType("navigation");
    return ["session" in globalThis, JSON.stringify(notRestoredReasons)];
  });
  assert.ok(isCached, `the browser did not keep the page: ${reasons}`);
}

test(`a session survives ${ROUNDS} stays in the back/forward cache, and so do its requests`, async () => {
  const page = await openPage(browser);
  const id = await openSession(page, { url: broker.url, name: "cached" });
  const requests = await handle("cached/asked");
  for (let round = 0; round < ROUNDS; round += 1) {
    await send(page, "cached/asked", round);
    const answer = await requests.next();
    await leave(page);
    // Answered while the page is in the cache, and after.
    if (round % 2 === 0) answer();
    await goBack(page);
    const told = await whenConnected(page);
    answer();
    assert.deepEqual(await outcome(page), { value: round });
    assert.deepEqual(
      told.map(([event, detail]) => (event === "pagehide" || event === "pageshow" ? `${event} ${detail}` : event)),
      ["pagehide true", "statechange", "disconnect", "pageshow true", "statechange", "reconnect"],
    );
    assert.deepEqual(told.at(-1)[1], { lossless: true, newSession: false });
    assert.equal(await other.messaging.sendRequestToPath("cached/echo", round), round);
  }
  assert.equal(await page.evaluate(() => session.id), id);
  await page.close();
});

test("without reconnection a session ends in the back/forward cache, and what it asked is settled", async () => {
  const page = await openPage(browser);
  await openSession(page, { url: broker.url, name: "ended", reconnect: false });
  const requests = await handle("ended/asked");
  await send(page, "ended/asked", 1);
  await requests.next();
  await leave(page);
  await goBack(page);
  assert.equal((await whenClosed(page)).code, "CONNECTION_ERROR");
  assert.deepEqual(await outcome(page), { code: "CONNECTION_LOST", outcome: "unknown" });
  await page.close();
});

test("a page that was told to close its session before it is cached comes back with a closed one", async () => {
  const page = await openPage(browser);
  await openSession(page, { url: broker.url, name: "closing" });
  await page.evaluate(() => addEventListener("pagehide", () => session.close()));
  await leave(page);
  await goBack(page);
  assert.equal((await whenClosed(page)).code, "CLOSED_BY_CLIENT");
  assert.deepEqual(await page.evaluate(() => [session.state, told.map(([event]) => event).includes("reconnect")]), [
    "closed",
    false,
  ]);
  await page.close();
});

for (const [what, leaveForGood] of [
  ["goes to another page", leave],
  ["is reloaded", (page) => page.reload()],
  ["is closed", (page) => page.close()],
]) {
  test(`a page that ${what}, not to come back, ends its session at the broker at once`, async () => {
    for (let round = 0; round < 3; round += 1) {
      const page = await openPage(forgetful);
      await openSession(page, { url: broker.url, name: "left" });
      // The broker would wait a minute for a session that only lost its connection.
      const asked = other.messaging.sendRequestToPath("left/never", round).catch((error) => error);
      await other.ping();
      const start = performance.now();
      await leaveForGood(page);
      const { code, outcome } = await asked;
      assert.deepEqual([code, outcome], ["SESSION_CLOSED", "unknown"]);
      assert.ok(performance.now() - start < 2_000);
      await page.close();
    }
  });
}

test("S-18 what a page sends as it is left arrives, before its session ends", async () => {
  for (const [name, leaveWith] of [
    ["pagehide", leave],
    ["pagehide", (page) => page.close()],
    ["beforeunload", leave],
  ]) {
    const page = await openPage(forgetful);
    // Before that of the client, which closes the session.
    await page.evaluate((event) => {
      addEventListener(event, () => {
        for (const number of [1, 2, 3]) session.messaging.sendRequestToPath("leaving", number).catch(() => {});
      });
    }, name);
    await openSession(page, { url: broker.url, name: "left" });
    const got = [];
    const handler = await other.messaging.addRequestHandler("leaving", (number) => got.push(number));
    const asked = other.messaging.sendRequestToPath("left/never", 0).catch((error) => error);
    await other.ping();
    await leaveWith(page);
    // What came of the end of the session comes behind what it sent.
    assert.equal((await asked).code, "SESSION_CLOSED");
    assert.deepEqual(got, [1, 2, 3], name);
    await handler.close();
    await page.close();
  }
});
