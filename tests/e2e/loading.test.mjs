// `connect` while the WebAssembly is slow to load, or does not load.

import assert from "node:assert/strict";
import { after, test } from "node:test";
import { startBroker } from "../support/broker.mjs";
import { launchBrowser } from "../support/browser.mjs";
import { assembleSite } from "../support/site.mjs";

const broker = await startBroker(["--www", await assembleSite()]);
const browser = await launchBrowser();
after(async () => {
  await browser.close();
  await broker.stop();
});

test("a load that hangs ends with the time allowed or the signal, and the next attempt starts afresh", async () => {
  const page = await browser.newPage();
  await page.route("**/*.wasm", () => {});
  // Any page of the same origin that does not connect by itself.
  await page.goto(`${broker.httpUrl}nothing/here`);

  const outcomes = await page.evaluate(async () => {
    const { connect } = await import("/antiphon/index.js");
    const failure = (promise) => promise.then(String, ({ name, code, retryable }) => ({ name, code, retryable }));
    const controller = new AbortController();
    const late = failure(connect(location.origin, { connectTimeout: 100 }));
    const aborted = failure(connect(location.origin, { signal: controller.signal }));
    controller.abort();
    return [await late, await aborted];
  });
  assert.deepEqual(outcomes[0], { name: "ConnectError", code: "CONNECTION_TIMEOUT", retryable: true });
  assert.equal(outcomes[1].name, "AbortError");

  await page.unroute("**/*.wasm");
  const state = await page.evaluate(async () => {
    const { connect } = await import("/antiphon/index.js");
    const session = await connect(location.origin);
    return session.state;
  });
  assert.equal(state, "connected");
});
