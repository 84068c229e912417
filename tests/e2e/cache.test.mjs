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

/** How often a test is tried whose page the browser did not keep, for reasons that are none of the page's. */
const ATTEMPTS = 5;

class NotKept extends Error {}

/** A test of a page that is left and visited again; `run` is given the page, and a name that it has to itself. */
function cacheTest(title, name, run) {
  test(title, async (t) => {
    for (let attempt = 1; ; attempt += 1) {
      const page = await openPage(browser);
      try {
        return await run(page, `${name}-${attempt}`);
      } catch (error) {
        if (!(error instanceof NotKept) || attempt === ATTEMPTS) throw error;
        t.diagnostic(error.message);
      } finally {
        await page.close();
      }
    }
  });
}

/** Goes back to a page that is in the cache. */
async function goBack(page) {
  const devtools = await page.context().newCDPSession(page);
  await devtools.send("Page.enable");
  // A browser that is short of memory empties its cache first.
  await devtools.send("Memory.setPressureNotificationsSuppressed", { suppressed: true });
  const notUsed = new Promise((resolve) => devtools.once("Page.backForwardCacheNotUsed", resolve));
  await page.goBack({ waitUntil: "commit" }); // it has loaded long ago
  if (!(await page.evaluate(() => "session" in globalThis))) {
    const { notRestoredExplanations: why } = await notUsed;
    const text = `the browser did not keep the page: ${why.map(({ type, reason }) => `${type} ${reason}`).join(", ")}`;
    throw why.every(({ type }) => type === "Circumstantial") ? new NotKept(text) : new Error(text);
  }
  await devtools.detach();
}

cacheTest(
  `a session survives ${ROUNDS} stays in the back/forward cache, and so do its requests`,
  "cached",
  async (page, name) => {
    const id = await openSession(page, { url: broker.url, name });
    const requests = await handle(`${name}/asked`);
    for (let round = 0; round < ROUNDS; round += 1) {
      await send(page, `${name}/asked`, round);
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
      assert.equal(await other.messaging.sendRequestToPath(`${name}/echo`, round), round);
    }
    assert.equal(await page.evaluate(() => session.id), id);
  },
);

cacheTest(
  "without reconnection a session ends in the back/forward cache, and what it asked is settled",
  "ended",
  async (page, name) => {
    await openSession(page, { url: broker.url, name, reconnect: false });
    const requests = await handle(`${name}/asked`);
    await send(page, `${name}/asked`, 1);
    await requests.next();
    await leave(page);
    await goBack(page);
    assert.equal((await whenClosed(page)).code, "CONNECTION_ERROR");
    assert.deepEqual(await outcome(page), { code: "CONNECTION_LOST", outcome: "unknown" });
  },
);

cacheTest(
  "a page that was told to close its session before it is cached comes back with a closed one",
  "closing",
  async (page, name) => {
    await openSession(page, { url: broker.url, name });
    await page.evaluate(() => addEventListener("pagehide", () => session.close()));
    await leave(page);
    await goBack(page);
    assert.equal((await whenClosed(page)).code, "CLOSED_BY_CLIENT");
    assert.deepEqual(await page.evaluate(() => [session.state, told.map(([event]) => event).includes("reconnect")]), [
      "closed",
      false,
    ]);
  },
);

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
