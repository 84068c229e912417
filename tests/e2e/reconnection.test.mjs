// Sessions of pages whose network goes away and comes back, or that the browser suspends.

import assert from "node:assert/strict";
import { after, describe, test } from "node:test";
import { connect } from "antiphon";
import { WebSocket } from "ws";
import { startBroker } from "../support/broker.mjs";
import { launchBrowser } from "../support/browser.mjs";
import { startCutter } from "../support/cutter.mjs";
import { assembleBlankPages } from "./support/blank.mjs";
import { openSession, outcome, send, whenClosed, whenConnected } from "./support/session.mjs";

const WINDOW = 6_000; // ms that the broker keeps a session
const PING_PERIOD = 500; // ms

const broker = await startBroker([
  "--www",
  assembleBlankPages(),
  "--reconnect-timeout",
  `${WINDOW}ms`,
  "--ping-period",
  `${PING_PERIOD}ms`,
]);
const browser = await launchBrowser();
const other = await connect(broker.url, { webSocket: WebSocket, log: "off" });
after(async () => {
  await other.close();
  await browser.close();
  await broker.stop();
});

/** A page with a session through a cutter of its own. */
async function openThrough(t, options, from = browser) {
  const between = await startCutter(broker);
  const page = await from.newPage();
  t.after(async () => {
    await page.close();
    await between.stop();
  });
  await page.goto(broker.httpUrl);
  const id = await openSession(page, { url: between.url, ...options });
  return { between, page, id };
}

const names = (told) => told.map(([event]) => event);
const idOf = (page) => page.evaluate(() => session.id);
const lost = (page) => page.waitForFunction(() => told.some(([event]) => event === "disconnect"));

describe("a page that is offline", { concurrency: true }, () => {
  for (const [part, isNew] of [
    [0.1, false],
    [0.8, false],
    [1.5, true],
  ]) {
    const becomes = isNew ? "goes on with a new session" : "keeps its session and its requests";
    test(`for ${part} of the time that the broker keeps its session ${becomes}`, async (t) => {
      const name = `offline-${part}`;
      await other.messaging.addRequestHandler(`${name}/asked`, async (request) => {
        if (request === "before") await answered;
        return request;
      });
      let answer;
      const answered = new Promise((resolve) => {
        answer = resolve;
      });
      const { between, page, id } = await openThrough(t, { name });
      await send(page, `${name}/asked`, "before");
      await other.ping();
      between.shut();
      // The browser itself knows of this only what it tells the page: loopback connections live on.
      await page.context().setOffline(true);
      await lost(page);
      const start = performance.now();
      answer();
      await page.evaluate((path) => {
        globalThis.waited = session.messaging.sendRequestToPath(path, "during", { whenDisconnected: "wait" });
      }, `${name}/asked`);
      const requested = other.messaging.sendRequestToPath(`${name}/echo`, "queued").catch(({ code }) => code);
      // The fault is a time without network: there is nothing else to wait for.
      await new Promise((resolve) => setTimeout(resolve, part * WINDOW - (performance.now() - start)));
      between.open();
      await page.context().setOffline(false);
      const told = await whenConnected(page);
      assert.deepEqual(told.at(-1), ["reconnect", { lossless: !isNew, newSession: isNew }]);
      assert.deepEqual(names(told), [
        "statechange",
        "disconnect",
        "statechange",
        ...(isNew ? ["messageloss"] : []),
        "reconnect",
      ]);
      assert.equal((await idOf(page)) !== id, isNew);
      assert.deepEqual(
        await outcome(page),
        isNew ? { code: "CONNECTION_LOST", outcome: "unknown" } : { value: "before" },
      );
      assert.equal(await requested, isNew ? "CLUSTER_ROUTING" : "queued");
      assert.equal(await page.evaluate(() => waited), "during");
      assert.equal(await other.messaging.sendRequestToPath(`${name}/echo`, "after"), "after");
    });
  }
});

test("a page that is told of the network tries again at once, however long it meant to wait (S-12)", async (t) => {
  const { between, page } = await openThrough(t, { name: "online", delay: 60_000 });
  between.shut();
  await lost(page);
  await page.context().setOffline(true);
  between.open();
  await page.context().setOffline(false);
  assert.deepEqual(names(await whenConnected(page)), ["statechange", "disconnect", "statechange", "reconnect"]);
});

describe("a page that sleeps (L-5)", () => {
  // Headless Chromium hides no page, and freezes none that is not hidden. So its processes are stopped, as those of a
  // machine are that is closed, and the events that pages get when they wake are made here.
  for (const [event, happens] of [
    ["resume", () => document.dispatchEvent(new Event("resume"))],
    ["visibilitychange", () => document.dispatchEvent(new Event("visibilitychange"))],
    ["online", () => dispatchEvent(new Event("online"))],
  ]) {
    test(`while its connection is cut is back at once when it wakes (${event})`, async (t) => {
      const sleeper = await openSleeper(t);
      const { between, page } = await openThrough(t, { name: "sleeper", delay: 60_000 }, sleeper.browser);
      await send(page, "sleeper/never", 1, { timeout: 100 });
      await sleeper.stop();
      between.cut();
      await new Promise((resolve) => setTimeout(resolve, 300)); // the time that it sleeps
      sleeper.wake();
      await lost(page);
      await page.evaluate(happens);
      const told = await whenConnected(page);
      assert.deepEqual(told.at(-1), ["reconnect", { lossless: true, newSession: false }]);
      assert.deepEqual(await outcome(page), { code: "TIMED_OUT", outcome: "unknown" });
      assert.equal(await other.messaging.sendRequestToPath("sleeper/echo", "awake"), "awake");
    });
  }

  test("longer than the broker waits for an answer to its pings goes on without loss", async (t) => {
    const sleeper = await openSleeper(t);
    const { page, id } = await openThrough(t, { name: "asleep", delay: 10 }, sleeper.browser);
    await sleeper.stop();
    const asked = other.messaging.sendRequestToPath("asleep/echo", "good morning");
    await new Promise((resolve) => setTimeout(resolve, 3 * PING_PERIOD)); // the time that it sleeps
    sleeper.wake();
    assert.equal(await asked, "good morning");
    assert.deepEqual(names(await whenConnected(page)), ["statechange", "disconnect", "statechange", "reconnect"]);
    assert.equal(await idOf(page), id);
  });

  test("through all the time it had to reconnect tries once more when it wakes", async (t) => {
    const sleeper = await openSleeper(t);
    const options = { name: "overslept", reconnect: { timeout: 500 }, delay: 60_000 };
    const { between, page, id } = await openThrough(t, options, sleeper.browser);
    between.shut();
    await lost(page);
    await sleeper.stop();
    await new Promise((resolve) => setTimeout(resolve, 2_500)); // the time that it sleeps
    between.open();
    sleeper.wake();
    assert.deepEqual((await whenConnected(page)).at(-1), ["reconnect", { lossless: false, newSession: true }]);
    assert.notEqual(await idOf(page), id);
    assert.equal(await other.messaging.sendRequestToPath("overslept/echo", "awake"), "awake");
  });
});

/** A browser whose pages can be stopped. */
async function openSleeper(t) {
  const sleeper = await launchBrowser();
  const developer = await sleeper.newBrowserCDPSession();
  let pages = [];
  t.after(() => sleeper.close());
  return {
    browser: sleeper,
    async stop() {
      const { processInfo } = await developer.send("SystemInfo.getProcessInfo");
      pages = processInfo.filter(({ type }) => type === "renderer").map(({ id }) => id);
      for (const id of pages) process.kill(id, "SIGSTOP");
    },
    wake() {
      for (const id of pages) process.kill(id, "SIGCONT");
    },
  };
}

test("a connection that never opens is given up after `connectTimeout`, the first one and later ones", async (t) => {
  const { between, page, id } = await openThrough(t, { name: "stuck", connectTimeout: 600, delay: 10 });
  between.freeze();
  const connecting = page.evaluate(async (url) => {
    const { connect } = await import("/antiphon/index.js");
    return connect(url, { connectTimeout: 600 }).catch(({ name, code, retryable }) => ({ name, code, retryable }));
  }, between.url);
  await lost(page); // nothing comes for two ping periods
  assert.deepEqual(await connecting, { name: "ConnectError", code: "CONNECTION_TIMEOUT", retryable: true });
  const before = between.accepted();
  while (between.accepted() < before + 3) await new Promise(setImmediate);
  between.cut();
  between.open();
  assert.deepEqual((await whenConnected(page)).at(-1), ["reconnect", { lossless: true, newSession: false }]);
  assert.equal(await idOf(page), id);
});

test("a session can be closed while its connection is stuck, and the page throws nothing", async (t) => {
  const { between, page } = await openThrough(t, { name: "stuck-closed", delay: 10 });
  const thrown = [];
  page.on("pageerror", (error) => thrown.push(error.stack));
  between.shut();
  await lost(page);
  between.freeze();
  const before = between.accepted();
  while (between.accepted() === before) await new Promise(setImmediate);
  await page.evaluate(() => session.close());
  assert.equal((await whenClosed(page)).code, "CLOSED_BY_CLIENT");
  const after = between.accepted();
  between.cut();
  between.open();
  assert.equal(await page.evaluate(() => session.state), "closed");
  assert.equal(between.accepted(), after);
  assert.deepEqual(thrown, []);
});

test("50 cuts in one session of a page are all recovered", async (t) => {
  const { between, page, id } = await openThrough(t, { name: "cuts", delay: 1 });
  for (let round = 0; round < 50; round += 1) {
    const back = page.evaluate(
      () =>
        new Promise((resolve) => {
          const stop = session.on("reconnect", (detail) => resolve([stop(), detail][1]));
        }),
    );
    await send(page, "cuts/echo", round);
    between.cut();
    assert.deepEqual(await back, { lossless: true, newSession: false });
    assert.deepEqual(await outcome(page), { value: round });
  }
  assert.equal(await idOf(page), id);
});

test("a session in a worker, which has no window, recovers", async (t) => {
  const between = await startCutter(broker);
  const page = await browser.newPage();
  t.after(async () => {
    await page.close();
    await between.stop();
  });
  await page.goto(broker.httpUrl);
  await page.evaluate(() => {
    const worker = new Worker("/worker.js", { type: "module" });
    let commands = 0;
    globalThis.command = (name, argument) =>
      new Promise((resolve, reject) => {
        const id = commands++;
        worker.addEventListener("message", ({ data: [answered, value, error] }) => {
          if (answered === id) error === undefined ? resolve(value) : reject(new Error(error));
        });
        worker.onerror = ({ message }) => reject(new Error(message));
        worker.postMessage([id, name, argument]);
      });
  });
  const tell = (...command) => page.evaluate((them) => globalThis.command(...them), command);
  assert.equal(await tell("connect", between.url), "undefined");
  assert.equal(await tell("ask", 1), 1);
  between.shut();
  const waiting = tell("ask", 2);
  between.open();
  assert.equal(await waiting, 2);
  assert.deepEqual(await tell("told"), ["statechange", "disconnect", "statechange", "reconnect"]);
  assert.equal(await other.messaging.sendRequestToPath("worker/echo", 3), 3);
  await tell("close");
  assert.deepEqual((await tell("told")).slice(4), ["statechange", "close"]);
});
