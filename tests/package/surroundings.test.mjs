// The package on unusual pages: prototypes frozen or extended, globals replaced by other libraries, another origin, a
// frame that is removed. Either it works as usual, or its error names the cause.

import assert from "node:assert/strict";
import { after, describe, test } from "node:test";
import { startBroker } from "../support/broker.mjs";
import { launchBrowser } from "../support/browser.mjs";
import { ENTRIES, startSite } from "./workers/site.mjs";

const broker = await startBroker();
const browser = await launchBrowser();
const site = await startSite();
after(async () => {
  await site.stop();
  await browser.close();
  await broker.stop();
});
const entries = Object.keys(ENTRIES);
const address = (entry, { url } = site) => `${url}antiphon/${ENTRIES[entry]}`;

/** Opens a page that does nothing by itself, for the length of a test. */
async function openBlank(t, { url } = site) {
  const page = await browser.newPage();
  t.after(() => page.close());
  await page.goto(`${url}blank.html`);
  return page;
}

/** Asks and answers in `page`, with the package from there; gives what became of it. */
function use(page, from = address("antiphon")) {
  return page.evaluate(
    async ([from, url]) => {
      try {
        const { connect, MessagingError } = await import(from);
        const session = await connect(url, { connectTimeout: 3_000 });
        await session.messaging.addRequestHandler("double", async ({ n }) => ({ doubled: [2 * n] }));
        const answer = await session.messaging.sendRequestToPath("double", { n: 21 });
        const error = await session.messaging.sendRequestToPath("nobody", null).catch((error) => error);
        await session.close();
        return { answer, code: error.code, isOurs: error instanceof MessagingError };
      } catch ({ name, code, message, retryable }) {
        return { name, code, message, retryable };
      }
    },
    [from, broker.url],
  );
}

const WORKS = { answer: { doubled: [42] }, code: "UNHANDLED_MESSAGE", isOurs: true };

/** It is a `ConnectError` like that. */
function assertRefused(outcome, { code, message, retryable }) {
  assert.deepEqual([outcome.name, outcome.code, outcome.retryable], ["ConnectError", code, retryable], outcome.message);
  assert.match(outcome.message, message);
}

describe("it works on a page", () => {
  const pages = {
    "whose builtins are frozen": () => {
      const generator = Object.getPrototypeOf(async function* () {});
      const types = [
        Object,
        Function,
        Array,
        Error,
        TypeError,
        Promise,
        Map,
        Set,
        RegExp,
        String,
        Number,
        BigInt,
        Symbol,
      ];
      for (const type of [...types, ArrayBuffer, Uint8Array, DataView, generator.constructor]) {
        Object.freeze(type);
        Object.freeze(type.prototype);
      }
    },
    "where a library has extended the prototypes of builtins": () => {
      for (const type of [Object, Array, String, Function]) {
        Object.assign(type.prototype, { extension() {}, version: 1, settings: null });
      }
    },
    "where a library has replaced Promise": () => {
      const Native = Promise;
      const { then } = Native.prototype;
      class Zoned {
        constructor(executor) {
          this.inner = new Native(executor);
        }
        // biome-ignore lint/suspicious/noThenProperty: it is a promise
        then(...callbacks) {
          return new Zoned((resolve, reject) => then.call(then.call(this.inner, ...callbacks), resolve, reject));
        }
        catch(callback) {
          return this.then(undefined, callback);
        }
        finally(callback) {
          return new Zoned((resolve, reject) => then.call(this.inner.finally(callback), resolve, reject));
        }
      }
      for (const name of ["resolve", "reject", "all", "race", "allSettled", "any"]) {
        Zoned[name] = (value) => new Zoned((resolve, reject) => then.call(Native[name](value), resolve, reject));
      }
      // biome-ignore lint/suspicious/noThenProperty: as such libraries do with the promises of async functions
      Native.prototype.then = function (...callbacks) {
        return new Zoned((resolve, reject) => then.call(this, resolve, reject)).then(...callbacks);
      };
      globalThis.Promise = Zoned;
    },
    "where a library has put something around WebSocket": () => {
      const Native = WebSocket;
      const members = {
        get(socket, name) {
          const member = socket[name];
          return typeof member === "function" ? member.bind(socket) : member;
        },
        set: (socket, name, value) => Reflect.set(socket, name, value, socket),
      };
      globalThis.WebSocket = new Proxy(Native, {
        construct: (_, args) => new Proxy(Reflect.construct(Native, args), members),
      });
    },
    "whose WebSocket belongs to another realm, as that of a test environment does": async () => {
      const frame = document.createElement("iframe");
      document.body.append(frame);
      globalThis.WebSocket = frame.contentWindow.WebSocket;
    },
    "where a library reads copies of what is fetched": () => {
      const { fetch } = globalThis;
      globalThis.fetch = async (...args) => {
        const response = await fetch(...args);
        await response.clone().arrayBuffer();
        return response;
      };
    },
    "without WebAssembly.instantiateStreaming": () => {
      delete WebAssembly.instantiateStreaming;
    },
    "where Error.prepareStackTrace gives no text": () => {
      Error.prepareStackTrace = (_, frames) => frames;
    },
    "with a <base> that leads elsewhere": () => {
      document.head.append(Object.assign(document.createElement("base"), { href: "http://127.0.0.1:9/elsewhere/" }));
    },
  };
  for (const [which, prepare] of Object.entries(pages)) {
    test(which, async (t) => {
      const page = await openBlank(t);
      await page.evaluate(prepare);
      assert.deepEqual(await use(page), WORKS);
    });
  }

  test("that is isolated from other origins", async (t) => {
    const headers = {
      "cross-origin-embedder-policy": "require-corp",
      "cross-origin-opener-policy": "same-origin",
    };
    const isolated = await startSite({ headers });
    t.after(() => isolated.stop());
    const page = await openBlank(t, isolated);
    assert.equal(await page.evaluate(() => crossOriginIsolated), true);
    assert.deepEqual(await use(page, address("antiphon", isolated)), WORKS);
  });
});

describe("what is missing is named on a page", () => {
  test("without WebAssembly", async (t) => {
    for (const entry of entries) {
      const page = await openBlank(t);
      await page.evaluate(() => {
        delete globalThis.WebAssembly;
      });
      const outcome = await use(page, address(entry));
      assertRefused(outcome, { code: "WASM_LOAD_FAILED", message: /no WebAssembly/, retryable: false });
    }
  });

  test("without WebSocket", async (t) => {
    const page = await openBlank(t);
    await page.evaluate(() => {
      delete globalThis.WebSocket;
    });
    assertRefused(await use(page), { code: "CONNECTION_ERROR", message: /option webSocket/, retryable: false });
  });

  test("where a library has consumed what was fetched, which antiphon/inline does not mind", async (t) => {
    const page = await openBlank(t);
    await page.evaluate(() => {
      const { fetch } = globalThis;
      globalThis.fetch = async (...args) => {
        const response = await fetch(...args);
        await response.arrayBuffer();
        return response;
      };
    });
    assertRefused(await use(page), { code: "WASM_LOAD_FAILED", message: /already read/, retryable: true });
    assert.deepEqual(await use(page, address("antiphon/inline")), WORKS);
  });
});

describe("the WebAssembly file", () => {
  /** What becomes of it when the server has `options`, and what the console says. */
  async function served(t, options) {
    const server = await startSite(options);
    t.after(() => server.stop());
    const page = await openBlank(t, server);
    return use(page, address("antiphon", server));
  }

  test("loads as application/octet-stream", async (t) => {
    assert.deepEqual(await served(t, { mediaTypes: { ".wasm": "application/octet-stream" } }), WORKS);
  });

  for (const [what, mediaType] of [
    ["that is a web page", "text/html"],
    ["that says it is WebAssembly, and is a web page", "application/wasm"],
  ]) {
    test(`${what} is refused with a word about where it has to be`, async (t) => {
      const page = "<!doctype html><title>An application</title>";
      const mediaTypes = { ".wasm": mediaType };
      const outcome = await served(t, { mediaTypes, files: { "/antiphon/antiphon_bg.wasm": page } });
      const message = /antiphon_bg\.wasm.*antiphon\/inline/;
      assertRefused(outcome, { code: "WASM_LOAD_FAILED", message, retryable: outcome.retryable });
    });
  }

  test("that is not there is refused with its address", async (t) => {
    const outcome = await served(t, { files: { "/antiphon/antiphon_bg.wasm": undefined } });
    assertRefused(outcome, { code: "WASM_LOAD_FAILED", message: /antiphon_bg\.wasm.*404/, retryable: true });
  });

  test("that is of something else is refused, and the next attempt starts afresh", async (t) => {
    const other = Buffer.from([0, 97, 115, 109, 1, 0, 0, 0]); // a module with nothing in it
    const server = await startSite({ files: { "/other.wasm": other } });
    t.after(() => server.stop());
    const page = await openBlank(t, server);
    const code = await page.evaluate(async () => {
      const { init } = await import("/antiphon/index.js");
      return init("/other.wasm").then(String, ({ code }) => code);
    });
    assert.equal(code, "WASM_LOAD_FAILED");
    assert.deepEqual(await use(page, address("antiphon", server)), WORKS);
  });

  test("comes from another origin that allows it", async (t) => {
    const server = await startSite({ headers: { "access-control-allow-origin": "*" } });
    t.after(() => server.stop());
    for (const entry of entries) {
      assert.deepEqual(await use(await openBlank(t), address(entry, server)), WORKS, entry);
    }
  });

  test("is not needed where the module has no address of its own: antiphon/inline works there", async (t) => {
    const outcomes = [];
    for (const entry of entries) {
      const page = await openBlank(t);
      const blob = await page.evaluate(async (from) => {
        const text = await (await fetch(from)).text();
        return URL.createObjectURL(new Blob([text], { type: "text/javascript" }));
      }, address(entry));
      outcomes.push(await use(page, blob));
    }
    const [beside, inline] = outcomes;
    assertRefused(beside, { code: "WASM_LOAD_FAILED", message: /antiphon\/inline/, retryable: beside.retryable });
    assert.deepEqual(inline, WORKS);
  });
});

test("a worker from a blob imports the package by its full address", async (t) => {
  const page = await openBlank(t);
  for (const entry of entries) {
    const answer = await page.evaluate(
      ([from, url]) => {
        const text = `
          import { connect } from "${from}";
          const { messaging } = await connect("${url}");
          await messaging.addRequestHandler("blob", (n) => n + 1);
          postMessage(await messaging.sendRequestToPath("blob", 41));`;
        const blob = new Blob([text], { type: "text/javascript" });
        const worker = new Worker(URL.createObjectURL(blob), { type: "module" });
        return new Promise((resolve) => {
          worker.onmessage = ({ data }) => resolve(data);
          worker.onerror = ({ message }) => resolve(message);
        });
      },
      [address(entry), broker.url],
    );
    assert.equal(answer, 42, entry);
  }
});

test("copies of the package on one page, both entries and two versions, work beside each other", async (t) => {
  const page = await openBlank(t);
  const answers = await page.evaluate(
    async ([froms, url]) => {
      const copies = await Promise.all(froms.map((from) => import(from)));
      const sessions = await Promise.all(copies.map(({ connect }) => connect(url)));
      for (const [index, { messaging }] of sessions.entries()) {
        await messaging.addRequestHandler(`copies/${index}`, (request) => [...request, index]);
      }
      return Promise.all(
        sessions.map(({ messaging }, index) => messaging.sendRequestToPath(`copies/${(index + 1) % 3}`, [index])),
      );
    },
    [[...entries.map((entry) => address(entry)), `${address("antiphon")}?another`], broker.url],
  );
  assert.deepEqual(answers, [
    [0, 1],
    [1, 2],
    [2, 0],
  ]);
});

test("in a sandboxed frame, which has no origin, the broker's refusal is an error that names the origin", async (t) => {
  const server = await startSite({ headers: { "access-control-allow-origin": "*" } });
  t.after(() => server.stop());
  const page = await openBlank(t);
  const outcome = await page.evaluate(
    ([from, url]) => {
      const frame = document.createElement("iframe");
      frame.sandbox = "allow-scripts";
      frame.srcdoc = `<script type="module">
        import { connect } from "${from}";
        const { name, code, message, retryable } = await connect("${url}").catch((error) => error);
        parent.postMessage({ name, code, message, retryable }, "*");
      </script>`;
      return new Promise((resolve) => {
        addEventListener("message", ({ data }) => resolve(data));
        document.body.append(frame);
      });
    },
    [address("antiphon", server), broker.url],
  );
  assertRefused(outcome, { code: "CONNECTION_ERROR", message: /refused the origin/, retryable: true });
});

for (const [what, leave, lateOutcome] of [
  ["removed", (frame) => frame.remove(), "not-sent"],
  // Only begins to: what is sent at once goes out before the page is left.
  ["navigated", (frame) => (frame.src = "blank.html?elsewhere"), "unknown"],
]) {
  test(`a frame that is ${what} ends its session: all its promises settle, and nobody waits for it`, {
    timeout: 20_000,
  }, async (t) => {
    const page = await openBlank(t);
    const outcomes = await page.evaluate(
      async ([from, url, leave]) => {
        const frame = Object.assign(document.createElement("iframe"), { src: "blank.html?frame" });
        await new Promise((resolve) => {
          frame.onload = resolve;
          document.body.append(frame);
        });
        const { connect } = await import(from);
        const outer = await connect(url);
        const within = await frame.contentWindow.eval(`import("${from}")`);
        const inner = await within.connect(url);
        const never = () => new Promise(() => {});
        await outer.messaging.addRequestHandler("outer", never);
        await inner.messaging.addRequestHandler("inner", never);

        const failure = (promise) => promise.then(String, ({ code, outcome }) => [code, outcome]);
        const waiting = [
          failure(inner.messaging.sendRequestToPath("outer", 1)),
          failure(outer.messaging.sendRequestToPath("inner", 2)),
          inner.closed.then(({ code }) => code),
        ];
        await Promise.all([inner.ping(), outer.ping()]); // both requests have arrived
        // biome-ignore lint/security/noGlobalEval: a function of the test
        eval(leave)(frame);
        return Promise.all([...waiting, failure(inner.messaging.sendRequestToPath("outer", 3))]);
      },
      [address("antiphon"), broker.url, String(leave)],
    );
    assert.deepEqual(outcomes, [
      ["SESSION_CLOSED", "unknown"],
      ["SESSION_CLOSED", "unknown"],
      "CLOSED_BY_CLIENT",
      ["SESSION_CLOSED", lateOutcome],
    ]);
  });
}
