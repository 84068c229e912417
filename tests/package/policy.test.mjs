// The package under a strict Content Security Policy: what it needs, and the errors if that is missing.

import assert from "node:assert/strict";
import { after, describe, test } from "node:test";
import { startBroker } from "../support/broker.mjs";
import { launchBrowser } from "../support/browser.mjs";
import { openPage } from "./workers/page.mjs";
import { ENTRIES, startSite } from "./workers/site.mjs";

const broker = await startBroker();
const browser = await launchBrowser();
after(async () => {
  await browser.close();
  await broker.stop();
});

/** All that a page and its workers need, for the session and for themselves. */
const POLICY = {
  "default-src": "'none'",
  "script-src": "'self' 'wasm-unsafe-eval'",
  "connect-src": `'self' ws://127.0.0.1:${broker.port}`,
  "worker-src": "'self'",
  "img-src": "data:", // the page's icon
};
const NONCES = { ...POLICY, "script-src": "'nonce-once' 'strict-dynamic' 'wasm-unsafe-eval'" };
const TRUSTED_TYPES = { "require-trusted-types-for": "'script'", "trusted-types": "workers" };

/** A server whose pages, modules and workers all have a policy. */
async function siteUnder(policy, options) {
  const text = Object.entries(policy).map((directive) => directive.join(" "));
  const site = await startSite({ ...options, headers: { "content-security-policy": text.join("; ") } });
  after(() => site.stop());
  return site;
}

for (const entry of Object.keys(ENTRIES)) {
  for (const [what, policy] of [
    ["a strict policy", POLICY],
    ["a policy of nonces with trusted types", { ...NONCES, ...TRUSTED_TYPES }],
  ]) {
    describe(`${entry} under ${what}`, async () => {
      const site = await siteUnder(policy, { entry });
      for (const kind of ["page", "dedicated", "classic", "shared", "service"]) {
        test(`${kind}: it asks and answers, and violates nothing`, async (t) => {
          const { tell } = await openPage(t, { browser, site, kind });
          const path = `${entry}/${what}/${kind}`;
          await tell("join", broker.url, path);
          assert.deepEqual(await tell("ask", path, { n: 1 }), { n: 1, answered: path });
          assert.deepEqual(await tell("violations"), []);
          await tell("leave");
        });
      }
    });
  }
}

/** What `connect` rejects with under a policy. */
async function refusal(t, policy, { entry, kind }) {
  const site = await siteUnder(policy, { entry });
  const { tell } = await openPage(t, { browser, site, kind, expected: /Content Security Policy/ });
  return tell("join", broker.url, "refused").then(assert.fail, (error) => error);
}

describe("what a policy lacks is named", () => {
  for (const entry of Object.keys(ENTRIES)) {
    for (const kind of ["page", "dedicated"]) {
      test(`${entry}, ${kind}: without 'wasm-unsafe-eval'`, async (t) => {
        const error = await refusal(t, { ...POLICY, "script-src": "'self'" }, { entry, kind });
        const { name, code, retryable } = error;
        assert.deepEqual([name, code, retryable], ["ConnectError", "WASM_LOAD_FAILED", false], error.message);
        assert.match(error.message, /Content Security Policy.*'wasm-unsafe-eval'/);
      });

      test(`${entry}, ${kind}: with a connect-src without the broker, long before the timeout`, async (t) => {
        const started = performance.now();
        const error = await refusal(t, { ...POLICY, "connect-src": "'self'" }, { entry, kind });
        assert.ok(performance.now() - started < 5_000);
        assert.deepEqual([error.name, error.code], ["ConnectError", "CONNECTION_ERROR"], error.message);
        assert.match(error.message, /Content Security Policy.*connect-src/);
      });
    }
  }

  test("antiphon: with a connect-src without 'self', which the WebAssembly file needs", async (t) => {
    const policy = { ...POLICY, "connect-src": `ws://127.0.0.1:${broker.port}` };
    const error = await refusal(t, policy, { entry: "antiphon", kind: "page" });
    assert.deepEqual([error.name, error.code], ["ConnectError", "WASM_LOAD_FAILED"], error.message);
    assert.match(error.message, /antiphon_bg\.wasm/);
  });
});

test("antiphon/inline does not need 'self' in connect-src", async (t) => {
  const policy = { ...POLICY, "connect-src": `ws://127.0.0.1:${broker.port}` };
  const site = await siteUnder(policy, { entry: "antiphon/inline" });
  const { tell } = await openPage(t, { browser, site, kind: "page" });
  await tell("join", broker.url, "inline");
  assert.deepEqual(await tell("violations"), []);
});
