// What has to work in every browser, each from the point of view of an application. `docs/compatibility.md` lists these
// tests by their names.

import assert from "node:assert/strict";
import { startCutter } from "../support/cutter.mjs";

const SOON = 3_000; // ms; for what takes a moment, where a mistake takes ten seconds or a minute
const CONTROL = { principal: "control", credentials: "password", log: "off" };

/**
 * What a test gets.
 *
 * @typedef {object} Surroundings
 * @property {() => Promise<import("../support/browsers/index.mjs").Page>} open opens an empty page beside the package
 * @property {(kind: string) => Promise<import("../support/browsers/index.mjs").Page>} openWorker opens the page that
 *   starts a worker
 * @property {string} siteUrl where the pages are
 * @property {boolean} keepsPages whether the browser keeps a page with an open WebSocket, for those who come back
 * @property {{ url: string, port: number }} broker
 * @property {import("antiphon").Session} other a session outside the browser, which may do everything
 * @property {(name: string) => string} path a message path of this test alone
 */

/** @type {Record<string, (surroundings: Surroundings) => Promise<void>>} */
export const essentials = {
  async "connects, with the WebAssembly beside the module or within it"({ open, broker }) {
    const page = await open();
    for (const entry of ["index.js", "inline.js"]) {
      const seen = await page.evaluate(
        async ({ url, entry }) => {
          const { connect } = await import(`/antiphon/${entry}`);
          const session = await connect(url);
          const { state } = session;
          const roundTrip = await session.ping();
          await session.close();
          return [state, roundTrip >= 0, session.state, (await session.closed).code];
        },
        { url: broker.url, entry },
      );
      assert.deepEqual(seen, ["connected", true, "closed", "CLOSED_BY_CLIENT"], entry);
    }
    await page.close();
  },

  async "asks a path, a session and a filter"({ open, broker, other, path }) {
    const page = await open();
    await other.messaging.addRequestHandler(path("echo"), (request) => ({ echoed: request }));
    const stream = other.messaging.addStreamHandler(path("stream"), (request) => `${request}!`, { addressed: true });
    const answers = await page.evaluate(ask, { url: broker.url, id: other.id, echo: path("echo"), to: path("stream") });
    assert.deepEqual(answers, {
      ofPath: { echoed: 1 },
      ofSession: "two!",
      ofFilter: [1, ["three!"]],
      gathered: [[other.id, "four!"]],
      nobody: ["UNHANDLED_MESSAGE", "refused"],
    });
    await stream.close();
    await page.close();
  },

  async "answers, also late, with an error, and as often as it was told to at a time"({ open, broker, other, path }) {
    const page = await open();
    await openSession(page, { url: broker.url, ...CONTROL, properties: { room: path("room") } });
    await page.evaluate(async (path) => {
      const { RejectedRequestError } = await import("/antiphon/index.js");
      let running = 0;
      let most = 0;
      const handlers = {
        now: (request, { path }) => [request, path],
        late: (request) => new Promise((resolve) => setTimeout(resolve, 10, request)),
        refused: () => {
          throw new RejectedRequestError("not today");
        },
        broken: () => {
          throw new TypeError("it is broken");
        },
        async busy() {
          running += 1;
          most = Math.max(most, running);
          await new Promise((resolve) => setTimeout(resolve, 5));
          running -= 1;
          return most;
        },
      };
      for (const [name, handler] of Object.entries(handlers)) {
        await session.messaging.addRequestHandler(`${path}/${name}`, handler, { maxConcurrent: 2, maxQueued: 6 });
      }
      session.messaging.addStreamHandler(`${path}/stream`, () => "here", { addressed: true });
    }, path("answers"));

    const send = (name, request) => other.messaging.sendRequestToPath(`${path("answers")}/${name}`, request);
    const failure = (sent) => sent.then(assert.fail, ({ code, message, outcome }) => [code, message, outcome]);
    assert.deepEqual(await send("now/below", 1), [1, `${path("answers")}/now/below`]);
    assert.equal(await send("late", 2), 2);
    assert.deepEqual(await failure(send("refused")), ["REJECTED_REQUEST", "not today", "failed"]);
    assert.deepEqual((await failure(send("broken")))[2], "failed");
    assert.deepEqual(Math.max(...(await Promise.all(Array.from({ length: 8 }, () => send("busy"))))), 2);
    const filter = `room is '${path("room")}'`;
    assert.deepEqual(await gathered(other.messaging.gather(filter, `${path("answers")}/stream`, null)), ["here"]);
    await closeSession(page);
  },

  async "sends and receives values of every type"({ open, broker, other, path }) {
    const page = await open();
    await other.messaging.addRequestHandler(path("echo"), (request) => request);
    const wrong = await page.evaluate(echoEverything, { url: broker.url, path: path("echo") });
    assert.deepEqual(wrong, []);
    await page.close();
  },

  async "comes back after a cut, and loses nothing"({ open, broker, other, path }) {
    const network = await startCutter(broker);
    const page = await open();
    const id = await openSession(page, { url: network.url });
    await page.evaluate((path) => session.messaging.addRequestHandler(path, (request) => request), path("cut"));
    const request = requestOf(other, path("asked"));
    await request.ready;
    await page.evaluate((path) => {
      globalThis.sent = session.messaging.sendRequestToPath(path, "before");
    }, path("asked"));
    await request.arrived;
    network.cut();
    request.answer("after");
    const seen = await page.evaluate(async () => {
      const response = await sent;
      return [response, session.id, told.filter(([event]) => ["disconnect", "reconnect"].includes(event))];
    });
    assert.deepEqual(seen[0], "after");
    assert.equal(seen[1], id);
    assert.deepEqual(
      seen[2].map(([event, detail]) => (event === "disconnect" ? event : detail)),
      ["disconnect", { lossless: true, newSession: false }],
    );
    assert.equal(await other.messaging.sendRequestToPath(path("cut"), 1), 1);
    await closeSession(page);
    await network.stop();
  },

  async "says at once that a connection is refused"({ open, broker, siteUrl }) {
    const page = await open();
    const unused = await startCutter(broker);
    await unused.stop();
    const addresses = {
      "nobody listens": unused.url,
      "not a WebSocket": `${siteUrl.replace("http", "ws")}nothing`,
      "a port that browsers do not open": "ws://127.0.0.1:6667/diffusion",
    };
    for (const [what, url] of Object.entries(addresses)) {
      const start = performance.now();
      const error = await page.evaluate(async (url) => {
        const { ConnectError, connect } = await import("/antiphon/index.js");
        const error = await connect(url, { log: "off" }).then(String, (error) => error);
        return [error instanceof ConnectError, error.code];
      }, url);
      assert.deepEqual(error, [true, "CONNECTION_ERROR"], what);
      assert.ok(performance.now() - start < SOON, `${what}: ${performance.now() - start} ms`);
    }
    await page.close();
  },

  ...Object.fromEntries(
    [
      ["is replaced by another page", (page) => page.evaluate(() => location.replace("/other.html"))],
      ["is reloaded", (page) => page.reload()],
      ["is closed", (page) => page.close()],
    ].map(([what, leave]) => [
      `ends the session of a page that ${what}`,
      async ({ open, broker, other, path }) => {
        const page = await open();
        await openSession(page, { url: broker.url });
        const ended = await expectTheEnd(page, other, path("left"));
        await leave(page);
        await ended();
        if (what === "is closed") return;
        await page.evaluate(() => document.title); // one that is on its way elsewhere may never close
        await page.close();
      },
    ]),
  ),

  async "goes back to a page and its session, or ends the session where the browser does not keep the page"(
    surroundings,
  ) {
    const { open, siteUrl, broker, keepsPages, other, path } = surroundings;
    const page = await open();
    const id = await openSession(page, { url: broker.url });
    await page.evaluate((path) => session.messaging.addRequestHandler(path, (request) => request), path("kept"));
    const ended = keepsPages ? undefined : await expectTheEnd(page, other, path("left"));
    await page.goto(`${siteUrl}other.html`);
    if (ended) {
      await ended();
      return page.close();
    }
    await page.back();
    const seen = await page.evaluate(async () => {
      if (!("session" in globalThis)) return "the browser did not keep the page";
      await whenConnected();
      return [session.id, told.findLast(([event]) => event === "reconnect")?.[1]];
    });
    assert.deepEqual(seen, [id, { lossless: true, newSession: false }]);
    assert.equal(await other.messaging.sendRequestToPath(path("kept"), 1), 1);
    await closeSession(page);
  },

  ...Object.fromEntries(
    ["dedicated", "classic", "shared", "service"].map((kind) => [
      `asks and answers in a ${kind === "classic" ? "worker that is not a module" : `${kind} worker`}`,
      async ({ openWorker, broker, other, path }) => {
        const page = await openWorker(kind);
        await other.messaging.addRequestHandler(path(`${kind}/other`), (request) => ({ ...request, by: "other" }));
        const tell = async (...command) => {
          const { value, error } = await page.evaluate((command) => globalThis.tell(...command), command);
          assert.equal(error, undefined);
          return value;
        };
        await tell("join", broker.url, path(kind));
        assert.deepEqual(await tell("ask", path(`${kind}/other`), { n: 1 }), { n: 1, by: "other" });
        const answer = await other.messaging.sendRequestToPath(path(kind), { n: 2 });
        assert.deepEqual(answer, { n: 2, answered: path(kind) });
        assert.deepEqual(await tell("globals"), []);
        await tell("leave");
        await page.close();
      },
    ]),
  ),
};

// ---- In the page ----

/** Opens `globalThis.session`, whose events are in `globalThis.told`. Gives its ID. */
function openSession(page, { url, ...options }) {
  return page.evaluate(
    async ({ url, options }) => {
      const { connect } = await import("/antiphon/index.js");
      const session = await connect(url, options);
      const told = [];
      for (const event of ["disconnect", "messageloss", "reconnect", "close"]) {
        session.on(event, (detail) => told.push([event, detail]));
      }
      const whenConnected = () =>
        new Promise((resolve) => {
          if (session.state === "connected")
            resolve(session.ping()); // the event follows the state
          else session.on("reconnect", resolve);
        });
      Object.assign(globalThis, { session, told, whenConnected });
      return session.id;
    },
    { url, options },
  );
}

async function closeSession(page) {
  await page.evaluate(() => session.close());
  await page.close();
}

async function ask({ url, id, echo, to }) {
  const { connect } = await import("/antiphon/index.js");
  const session = await connect(url, { principal: "control", credentials: "password" });
  const { messaging } = session;
  const filter = `$SessionId is '${id}'`;
  const responses = [];
  let all;
  const complete = new Promise((resolve) => {
    all = resolve;
  });
  const onResponse = ({ value, error, received, expected }) => {
    responses.push(error?.code ?? value);
    if (received === expected) all();
  };
  const ofPath = await messaging.sendRequestToPath(echo, 1);
  const ofSession = await messaging.sendRequestToSession(to, id, "two");
  const asked = await messaging.sendRequestToFilter(filter, to, "three", { onResponse });
  await complete;
  const gathered = [];
  for await (const { sessionId, value, error } of messaging.gather(filter, to, "four")) {
    gathered.push([sessionId, error?.code ?? value]);
  }
  const nobody = await messaging.sendRequestToPath("nobody/here", null).catch((error) => [error.code, error.outcome]);
  await session.close();
  return { ofPath, ofSession, ofFilter: [asked, responses], gathered, nobody };
}

/** Sends values to where they come back from. Gives those that are not what they were. */
async function echoEverything({ url, path }) {
  const { connect, datatypes } = await import("/antiphon/index.js");
  const session = await connect(url, { principal: "control", credentials: "password" });
  const bytes = Uint8Array.from({ length: 256 }, (_, index) => index);
  const samples = [
    [null, true, false, "", "grüße \u{1f600}", 0, -0, 1.5, Number.NaN, Number.POSITIVE_INFINITY, 5e-324],
    [0n, -1n, 2n ** 63n - 1n, -(2n ** 63n), bytes],
    [{ a: [1, { b: null }], "": "empty", large: 2n ** 62n, bytes }, [], {}, [[]]],
    [datatypes.JSON("text"), datatypes.DOUBLE(3), datatypes.RECORD_V2([["a", "b"], [""]])],
  ].flat();
  const show = (value) =>
    JSON.stringify(value, (_, inner) => {
      if (typeof inner === "bigint") return `${inner}n`;
      if (typeof inner === "number") return Object.is(inner, -0) ? "-0" : `number ${inner}`;
      return inner instanceof Uint8Array ? `bytes ${inner.join()}` : inner;
    });
  const wrong = [];
  for (const sample of samples) {
    const echoed = await session.messaging.sendRequestToPath(path, sample);
    const sent = sample?.typeName ? sample.value : sample;
    if (show(echoed) !== show(sent)) wrong.push([show(sent), show(echoed)]);
  }
  await session.close();
  return wrong;
}

// ---- Outside ----

/** Gives a function that waits for the broker to end the session of a page, and fails if that does not happen soon. */
async function expectTheEnd(page, other, path) {
  await page.evaluate((path) => session.messaging.addRequestHandler(path, () => new Promise(() => {})), path);
  const failure = (timeout) => other.messaging.sendRequestToPath(path, null, { timeout }).catch(({ code }) => code);
  const asked = failure(2 * SOON);
  await other.ping(); // the request has reached the broker
  return async () => {
    const start = performance.now();
    const code = await asked;
    const waited = performance.now() - start;
    // The broker would wait a minute for a session that only lost its connection.
    assert.deepEqual([code, await failure(SOON)], ["SESSION_CLOSED", "UNHANDLED_MESSAGE"]);
    assert.ok(waited < SOON, `after ${waited} ms`);
  };
}

/** One request that `session` handles when it is told to. */
function requestOf(session, path) {
  let answer;
  let arrive;
  const arrived = new Promise((resolve) => {
    arrive = resolve;
  });
  const answered = new Promise((resolve) => {
    answer = resolve;
  });
  const ready = session.messaging.addRequestHandler(path, () => {
    arrive();
    return answered;
  });
  return { ready, arrived, answer };
}

async function gathered(gathering) {
  const values = [];
  for await (const { value, error } of gathering) values.push(error?.code ?? value);
  return values;
}
