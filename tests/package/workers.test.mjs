// The package without a bundler in every kind of worker, through both entries: who asks, who answers, and what happens
// when a worker ends.

import assert from "node:assert/strict";
import { after, describe, test } from "node:test";
import { connect } from "antiphon";
import { WebSocket } from "ws";
import { startBroker } from "../support/broker.mjs";
import { launchBrowser } from "../support/browser.mjs";
import { openPage } from "./workers/page.mjs";
import { ENTRIES, startSite } from "./workers/site.mjs";

const broker = await startBroker();
const browser = await launchBrowser();
const other = await connect(broker.url, { webSocket: WebSocket });
await other.messaging.addRequestHandler("other", (request) => ({ ...request, answered: "other" }));
after(async () => {
  await other.close();
  await browser.close();
  await broker.stop();
});

for (const entry of Object.keys(ENTRIES)) {
  describe(`by ${entry}`, async () => {
    const site = await startSite({ entry });
    after(() => site.stop());

    for (const kind of ["page", "dedicated", "classic", "shared", "service"]) {
      test(`${kind}: it asks and answers`, async (t) => {
        const { tell } = await openPage(t, { browser, site, kind });
        const path = `${entry}/${kind}`;
        await tell("join", broker.url, path);
        assert.deepEqual(await tell("ask", "other", { n: 1 }), { n: 1, answered: "other" });
        assert.deepEqual(await other.messaging.sendRequestToPath(path, { n: 2 }), { n: 2, answered: path });
        assert.deepEqual(await tell("globals"), kind === "page" ? ["window", "document"] : []);
        await tell("leave");
      });
    }

    test("a worker answers requests of its own page, which has another session", async (t) => {
      const { page, tell } = await openPage(t, { browser, site, kind: "dedicated" });
      const path = `${entry}/from-page`;
      const id = await tell("join", broker.url, path);
      const own = await page.evaluate((url) => import("/peer.js").then(({ join }) => join(url, "page")), broker.url);
      assert.notEqual(own, id);
      const answer = await page.evaluate((path) => import("/peer.js").then(({ ask }) => ask(path, { n: 3 })), path);
      assert.deepEqual(answer, { n: 3, answered: path });
    });

    test("two pages use one session through a shared worker, and it outlives the first of them", async (t) => {
      const context = await browser.newContext();
      t.after(() => context.close());
      const first = await openPage(t, { browser: context, site, kind: "shared" });
      const second = await openPage(t, { browser: context, site, kind: "shared" });
      const path = `${entry}/two-pages`;
      const ids = await Promise.all([first, second].map(({ tell }) => tell("join", broker.url, path)));
      assert.equal(ids[0], ids[1]);
      assert.deepEqual(await first.tell("ask", "other", { n: 1 }), { n: 1, answered: "other" });
      await first.page.close();
      assert.deepEqual(await second.tell("ask", "other", { n: 2 }), { n: 2, answered: "other" });
      assert.deepEqual(await other.messaging.sendRequestToPath(path, { n: 3 }), { n: 3, answered: path });
    });

    test("a service worker asks while it handles a fetch, and again after the browser ended it", async (t) => {
      const { page } = await openPage(t, { browser, site, kind: "service" });
      const fetched = () =>
        page.evaluate(async (url) => {
          const response = await fetch(`/ask/other?broker=${encodeURIComponent(url)}`);
          return response.text();
        }, broker.url);
      assert.equal(await fetched(), '{"fetched":true,"answered":"other"}');
      const control = await page.context().newCDPSession(page);
      await control.send("ServiceWorker.enable");
      await control.send("ServiceWorker.stopAllWorkers");
      assert.equal(await fetched(), '{"fetched":true,"answered":"other"}');
    });

    test(`the WebAssembly comes ${entry === "antiphon" ? "from beside the module" : "with the module"}`, () => {
      assert.equal(site.requested.includes("/antiphon/antiphon_bg.wasm"), entry === "antiphon");
    });
  });
}

describe("a worker that is terminated", async () => {
  const site = await startSite();
  after(() => site.stop());

  /** What becomes of a request that the worker was answering when it was terminated, and of one that is sent later. */
  async function terminate(t, path, options) {
    const { page, tell } = await openPage(t, { browser, site, kind: "dedicated" });
    await tell("join", broker.url, path, options);
    const failure = (sent) => sent.then(assert.fail, ({ code, outcome }) => [code, outcome]);
    const asked = failure(other.messaging.sendRequestToPath(`${path}/never`, null, { timeout: 5_000 }));
    await other.ping(); // the request has reached the broker
    await page.evaluate(() => globalThis.terminate());
    return [await asked, await failure(other.messaging.sendRequestToPath(path, null, { timeout: 300 }))];
  }

  test("is a lost connection: its session ends with its time to reconnect, and requests to it then", async (t) => {
    const outcomes = await terminate(t, "terminated/soon", { reconnect: { timeout: 300 } });
    assert.deepEqual(outcomes, [
      ["SESSION_CLOSED", "unknown"],
      ["UNHANDLED_MESSAGE", "refused"],
    ]);
  });

  test("without reconnection is gone at once", async (t) => {
    const outcomes = await terminate(t, "terminated/at-once", { reconnect: false });
    assert.deepEqual(outcomes, [
      ["SESSION_CLOSED", "unknown"],
      ["UNHANDLED_MESSAGE", "refused"],
    ]);
  });

  test("does not keep others from the path: the one that registers later is asked", async (t) => {
    const { page, tell } = await openPage(t, { browser, site, kind: "dedicated" });
    await tell("join", broker.url, "terminated/replaced");
    await page.evaluate(() => globalThis.terminate());
    const next = await openPage(t, { browser, site, kind: "dedicated" });
    await next.tell("join", broker.url, "terminated/replaced");
    const answer = await other.messaging.sendRequestToPath("terminated/replaced", { n: 1 }, { timeout: 1_000 });
    assert.deepEqual(answer, { n: 1, answered: "terminated/replaced" });
  });
});
