// Rules S-2 to S-11 where the connection is lost and comes back, as an application sees them, and what the options say.

import assert from "node:assert/strict";
import { after, test } from "node:test";
import { ConnectError, connect } from "antiphon";
import { WebSocket } from "ws";
import { startBroker } from "../support/broker.mjs";
import { startCutter } from "../support/cutter.mjs";
import {
  assertError,
  collect,
  fails,
  gate,
  isSettled,
  randomNumbers,
  rejection,
  seed,
  thrown,
  unique,
} from "./support/client.mjs";
import { connectPeer, SCRIPTED_ID } from "./support/endpoint.mjs";
import { SCRIPTED_TOKEN, startScript } from "./support/script.mjs";
import {
  ABORT,
  CLOSE_REQUEST,
  connectionResponse,
  DELIVERY,
  ERROR,
  join,
  list,
  REGISTER,
  REQUEST,
  Reader,
  readConnectionResponse,
  readSendToPath,
  SEND_TO_PATH,
  sessionId as sessionIdBytes,
  string,
  text,
  varint,
} from "./support/wire.mjs";

const broker = await startBroker(["--log", "trace"]);
after(() => broker.stop());

const OTHER_ID = "00000000000000ac-0000000000000001";
const RECOVERY_BYTES = 2 ** 20; // what the broker keeps of what it sent to a session
const EVENTS = ["statechange", "disconnect", "messageloss", "reconnect", "close"];

const notConnected = { code: "NOT_CONNECTED", outcome: "not-sent" };
const connectionLost = { code: "CONNECTION_LOST", outcome: "unknown" };
const notSentInTime = { code: "TIMED_OUT", outcome: "not-sent" };
const closedUnsent = { code: "SESSION_CLOSED", outcome: "not-sent" };
const unhandled = { code: "UNHANDLED_MESSAGE", reason: 109, outcome: "refused" };
const closedUnanswered = { code: "SESSION_CLOSED", outcome: "unknown" };

/** Tries again at once. */
const soon = { delay: () => 1 };

/** A session that reconnects, which is closed when the test `t` is over. */
async function open(t, server, { reconnect = soon, ...given } = {}) {
  const session = await connect(server.url, { webSocket: WebSocket, log: "off", reconnect, ...given });
  t.after(() => session.close());
  return session;
}

async function cutter(t, to = broker) {
  const between = await startCutter(to);
  t.after(() => between.stop());
  return between;
}

async function scripted(t, ...script) {
  const server = await startScript(script);
  t.after(() => server.stop());
  return server;
}

async function anotherBroker(t, ...args) {
  const another = await startBroker(args);
  t.after(() => another.stop());
  return another;
}

/** What listeners of a session are told from now on: `[event, detail]`. */
function record(session) {
  const told = [];
  for (const event of EVENTS) session.on(event, (detail) => told.push([event, detail]));
  return told;
}

/** The next event of this name. */
function next(session, event) {
  return new Promise((resolve) => {
    const stop = session.on(event, (detail) => {
      stop();
      resolve(detail);
    });
  });
}

/** Loses the connections of `between` and waits until `session` has another one. */
async function cutAndReturn(between, session) {
  const back = next(session, "reconnect");
  between.cut();
  return back;
}

/** Keeps `session` from a connection until `between` is opened. */
async function loseFor(between, session) {
  const lost = next(session, "disconnect");
  between.shut();
  await lost;
}

/**
 * Keeps `session` from a connection until `between` is opened, and lets more come for it than the broker keeps, so that
 * the gap cannot be bridged. Gives what the request under way rejects with.
 */
async function loseMessages(t, between, session) {
  const path = unique("large");
  const [called, large] = [gate(), gate()];
  const other = await open(t, broker);
  await other.messaging.addRequestHandler(path, async () => {
    called.open();
    await large.opened;
    return new Uint8Array(RECOVERY_BYTES);
  });
  const outstanding = rejection(session.messaging.sendRequestToPath(path, null));
  await called.opened;
  await loseFor(between, session);
  large.open();
  await new Promise(setImmediate); // the answer is on its way
  await other.ping(); // and there
  return { outstanding };
}

const connectedAgain = (lossless, newSession) => [
  ["statechange", { from: "recovering", to: "connected" }],
  ["reconnect", { lossless, newSession }],
];
const closedBy =
  (code, from = "recovering") =>
  (told) => {
    assert.deepEqual(
      told.map(([event]) => event),
      ["statechange", "close"],
    );
    assert.deepEqual(told[0][1], { from, to: "closed" });
    assert.equal(told[1][1].code, code);
  };

// ---- S-2: the token, on the way back ----

test("S-2 the token is presented to the broker, and shown to nobody else while the session recovers", async (t) => {
  const tokens = new Set();
  const addresses = [];
  class Watched extends WebSocket {
    constructor(url, ...args) {
      super(url, ...args);
      addresses.push(new URL(url));
      this.once("message", (bytes) => tokens.add(readConnectionResponse(Buffer.from(bytes)).token));
    }
  }
  const lines = [];
  for (const level of ["log", "debug", "info", "warn", "error"]) {
    t.mock.method(console, level, (...args) => lines.push(args.map(String).join(" ")));
  }
  const between = await cutter(t);
  const session = await open(t, between, { webSocket: Watched, log: "trace", reconnect: { timeout: 500, ...soon } });
  const told = record(session);
  await cutAndReturn(between, session);
  const properties = await session.getProperties();
  await loseFor(between, session);
  const error = await rejection(session.ping());
  const info = await session.closed;
  const [token] = tokens;
  assert.equal(tokens.size, 1);
  assert.equal(addresses[0].searchParams.get("c"), null);
  for (const { searchParams } of addresses.slice(1)) assert.equal(searchParams.get("c"), token);
  assert.ok(lines.length > 0);
  const seen = [broker.log(), ...lines, error.stack, JSON.stringify([told, info, properties])].join("\n");
  assert.ok(!seen.includes(token) && !seen.includes(encodeURIComponent(token)));
});

// ---- S-3: states and events ----

test("S-3 a connection that is lost and found again shows as states and events in this order", async (t) => {
  const between = await cutter(t);
  const session = await open(t, between);
  const told = record(session);
  const states = [];
  for (const event of EVENTS) session.on(event, () => states.push(session.state));
  await cutAndReturn(between, session);
  const [, [, { reason }]] = told;
  assert.match(reason, /^the connection was lost: the WebSocket to ws:\/\/127\.0\.0\.1:\d+\/diffusion was closed/);
  assert.deepEqual(told, [
    ["statechange", { from: "connected", to: "recovering" }],
    ["disconnect", { reason }],
    ...connectedAgain(true, false),
  ]);
  assert.deepEqual(states, ["recovering", "recovering", "connected", "connected"]);
  told.length = 0;
  await session.close();
  closedBy("CLOSED_BY_CLIENT", "connected")(told);
});

test("S-3 attempts that fail change no state, and one outage is one disconnect", async (t) => {
  const between = await cutter(t);
  const attempts = [];
  const fifth = gate();
  const delay = (attempt) => {
    attempts.push(attempt);
    if (attempt === 5) fifth.open();
    return 1;
  };
  const session = await open(t, between, { reconnect: { delay } });
  const told = record(session);
  between.shut();
  await fifth.opened;
  const back = next(session, "reconnect");
  between.open();
  await back;
  assert.deepEqual(
    told.map(([event]) => event),
    ["statechange", "disconnect", "statechange", "reconnect"],
  );
  attempts.length = 0;
  await cutAndReturn(between, session);
  assert.deepEqual(attempts, [1], "the next outage counts anew");
});

test("S-3 a session whose time to reconnect ran out stays closed, and all its methods say so", async (t) => {
  const between = await cutter(t);
  const session = await open(t, between, { reconnect: { timeout: 50, ...soon } });
  const { id, messaging } = session;
  await loseFor(between, session);
  const told = record(session);
  assert.equal((await session.closed).code, "CONNECTION_TIMEOUT");
  closedBy("CONNECTION_TIMEOUT")(told);
  between.open();
  const accepted = between.accepted();
  await rejectsEverywhere(session, closedUnsent);
  await session.close();
  await session.close();
  assert.deepEqual([session.id, session.state, messaging], [id, "closed", session.messaging]);
  assert.equal(between.accepted(), accepted, "nothing tries to connect");
  assert.equal(told.length, 2);
});

/** Calls every method that needs a connection; each rejects, or throws, with the same error. */
async function rejectsEverywhere(session, expected, { local = expected } = {}) {
  const { messaging } = session;
  const calls = [
    messaging.sendRequestToPath("a", 1),
    messaging.sendRequestToSession("a", session.id, 1),
    messaging.sendRequestToFilter("all", "a", 1),
    messaging.addRequestHandler("a", () => 1),
    messaging.gather("all", "a", 1).expected,
    collect(messaging.gather("all", "a", 1)),
    messaging.services.USER_PING.invoke(new Uint8Array()),
    session.ping(),
    session.getProperties(),
    session.changePrincipal("admin", "password"),
  ];
  await Promise.all(calls.map((call) => fails(call, expected)));
  if (!local) return;
  for (const call of [
    () => messaging.addStreamHandler("a", () => 1),
    () => messaging.addFilterResponseHandler("all", () => {}),
  ]) {
    assertError(thrown(call), local);
  }
}

test("S-3 with `reconnect: false` a session ends with its connection", async (t) => {
  const between = await cutter(t);
  const session = await open(t, between, { reconnect: false });
  const told = record(session);
  between.cut();
  const { code, byClient } = await session.closed;
  assert.deepEqual([code, byClient], ["CONNECTION_ERROR", false]);
  assert.deepEqual(
    told.map(([event]) => event),
    ["statechange", "disconnect", "close"],
  );
  assert.deepEqual(told[0][1], { from: "connected", to: "closed" });
  assert.equal(between.accepted(), 1);
});

// ---- S-5: how long ----

test("S-5 the broker is asked to keep the session for `reconnect.timeout`, a minute if that is not said", async (t) => {
  const server = await scripted(t, {});
  for (const [reconnect, asked] of [
    [undefined, "60000"],
    [null, "60000"],
    [true, "60000"],
    [{}, "60000"],
    [{ timeout: 1234 }, "1234"],
    [{ timeout: 0 }, "0"],
    [false, "0"],
  ]) {
    const session = await connect(server.url, { webSocket: WebSocket, log: "off", reconnect });
    assert.equal(server.attempts.at(-1).query.r, asked);
    await session.close();
  }
});

test("S-5 what cannot be used for `reconnect` is refused", async () => {
  for (const reconnect of [
    "yes",
    5000,
    { timeout: -1 },
    { timeout: Number.NaN },
    { timeout: "1s" },
    { delay: 5 },
    { delay: [] },
  ]) {
    const error = await rejection(connect(broker.url, { webSocket: WebSocket, reconnect }));
    assert.ok(error instanceof ConnectError);
    assert.deepEqual([error.code, error.retryable], ["INVALID_ARGUMENT", false]);
    assert.match(error.message, /reconnect/);
  }
});

test("S-5 S-11 the broker keeps a session for the smaller of what is asked and allowed, then ends it", async (t) => {
  const strict = await anotherBroker(t, "--reconnect-timeout", "150ms");
  for (const [server, r] of [
    [strict, 60_000],
    [broker, 150],
  ]) {
    const asker = await open(t, server);
    const path = unique("kept");
    const peer = await connectPeer(server, { query: { r } });
    await peer.register(path);
    const delivered = rejection(asker.messaging.sendRequestToPath(path, "delivered"));
    await peer.next({ service: DELIVERY });
    const start = performance.now();
    await peer.cut();
    const queued = rejection(asker.messaging.sendRequestToPath(path, "queued"));
    for (const error of [await delivered, await queued]) {
      assertError(error, { code: "SESSION_CLOSED", reason: 101, outcome: "unknown" });
    }
    const kept = performance.now() - start;
    assert.ok(kept > 140 && kept < 1000, `${kept} ms`);
    await fails(asker.messaging.sendRequestToPath(path, "late"), unhandled);
    assert.equal((await connectPeer(server, { query: { c: peer.token, cs: 1, ss: 0 } })).code, 117);
  }
});

test("S-5 a session that the broker has let go meanwhile goes on as a new one", async (t) => {
  const strict = await anotherBroker(t, "--reconnect-timeout", "100ms");
  const between = await cutter(t, strict);
  const [session, watcher] = [await open(t, between), await open(t, strict)];
  await session.messaging.addRequestHandler("kept", () => 1);
  const { id } = session;
  await loseFor(between, session);
  // Waits for the session as long as the broker keeps it.
  assert.equal((await rejection(watcher.messaging.sendRequestToPath("kept", null))).code, "SESSION_CLOSED");
  const back = next(session, "reconnect");
  between.open();
  assert.deepEqual(await back, { lossless: false, newSession: true });
  assert.notEqual(session.id, id);
});

// ---- S-6: nothing lost ----

test("S-6 requests under way are answered, and handlers, streams and filter handlers stay", async (t) => {
  const [near, far] = [await cutter(t), await cutter(t)];
  const [asker, answerer] = [await open(t, near), await open(t, far)];
  const path = unique("lossless");
  const asked = [];
  const [all, answers] = [gate(), gate()];
  const handler = (request) => {
    asked.push(request);
    if (asked.length === 3) all.open();
    return answers.opened.then(() => `${request} answered`);
  };
  await answerer.messaging.addRequestHandler(path, handler);
  answerer.messaging.addStreamHandler(path, handler, { addressed: true });
  const filter = `$SessionId is '${answerer.id}'`;
  const heard = [];
  asker.messaging.addFilterResponseHandler(filter, ({ value }) => heard.push(value));
  const sent = [
    asker.messaging.sendRequestToPath(path, "path"),
    asker.messaging.sendRequestToSession(path, answerer.id, "session"),
  ];
  const gathered = collect(asker.messaging.gather(filter, path, "filter"));
  await all.opened;
  const { id } = asker;
  const told = record(asker);
  await loseFor(near, asker);
  await loseFor(far, answerer);
  answers.open();
  assert.equal(await isSettled(sent[0]), false);
  const back = [next(asker, "reconnect"), next(answerer, "reconnect")];
  near.open();
  far.open();
  for (const detail of await Promise.all(back)) assert.deepEqual(detail, { lossless: true, newSession: false });
  assert.deepEqual(await Promise.all(sent), ["path answered", "session answered"]);
  assert.deepEqual(await gathered, [{ sessionId: answerer.id, value: "filter answered" }]);
  assert.equal(asker.id, id);
  assert.ok(!told.some(([event]) => event === "messageloss"));
  // As before.
  assert.equal(await asker.messaging.sendRequestToPath(path, "again"), "again answered");
  assert.equal(await asker.messaging.sendRequestToFilter(filter, path, "heard"), 1);
  await answerer.ping();
  await asker.ping();
  assert.deepEqual(heard, ["heard answered"]);
  assert.deepEqual(asked, ["path", "session", "filter", "again", "heard"], "each once");
});

test("S-6 cuts at random moments lose no request and deliver none twice", async (t) => {
  const start = seed();
  t.diagnostic(`ANTIPHON_SEED=${start}`);
  const random = randomNumbers(start);
  const [near, far] = [await cutter(t), await cutter(t)];
  const [asker, answerer] = [await open(t, near), await open(t, far)];
  const path = unique("random");
  const asked = [];
  await answerer.messaging.addRequestHandler(path, (number) => {
    asked.push(number);
    return number;
  });
  const sends = [];
  for (let number = 0; number < 400; number += 1) {
    sends.push(asker.messaging.sendRequestToPath(path, number, { whenDisconnected: "wait" }));
    if (random() < 0.05) near.cut();
    if (random() < 0.05) far.cut();
    if (random() < 0.5) await new Promise(setImmediate);
  }
  const answers = await Promise.all(sends);
  assert.deepEqual(
    answers,
    answers.map((_, number) => number),
  );
  assert.deepEqual(
    asked.toSorted((a, b) => a - b),
    answers,
  );
});

test("S-6 the client asks for what it missed, and sends again what the broker missed", async (t) => {
  const server = await scripted(t, {}, { code: 105, recovery: 2 });
  const session = await open(t, server);
  const [first] = server.attempts;
  const sent = ["one", "two", "three"].map((path) => session.messaging.sendRequestToPath(path, 1));
  first.respond(await first.next(), text("answered"));
  assert.equal(await sent[0], "answered");
  await first.cut();
  const second = await server.attempt(1);
  const { c, cs, ss } = second.query;
  assert.deepEqual({ c, cs, ss }, { c: SCRIPTED_TOKEN, cs: "1", ss: "1" });
  // As the script has it, the first message came through and the others did not.
  for (const [index, path] of [
    [1, "two"],
    [2, "three"],
  ]) {
    const message = await second.next();
    assert.equal(readSendToPath(message.body).path, path);
    second.respond(message, text(path));
    assert.equal(await sent[index], path);
  }
});

test("S-6 answers given while there is no connection arrive, also those of handlers that fail", async (t) => {
  const between = await cutter(t);
  const [asker, answerer] = [await open(t, broker), await open(t, between)];
  const path = unique("meanwhile");
  const calls = new Map();
  const all = gate();
  await answerer.messaging.addRequestHandler(
    path,
    (name) =>
      new Promise((resolve, reject) => {
        calls.set(name, { resolve, reject });
        if (calls.size === 2) all.open();
      }),
  );
  const [good, bad] = ["good", "bad"].map((name) => asker.messaging.sendRequestToPath(path, name));
  await all.opened;
  await loseFor(between, answerer);
  calls.get("good").resolve(1);
  calls.get("bad").reject(new Error("broken"));
  between.open();
  assert.equal(await good, 1);
  await fails(bad, { code: "CALLBACK_EXCEPTION", reason: 105, outcome: "failed", message: "broken" });
});

test("S-6 a link that is half open is noticed after two ping periods, and replaced without loss", async (t) => {
  const pinging = await anotherBroker(t, "--ping-period", "100ms");
  const between = await cutter(t, pinging);
  const session = await open(t, between);
  await session.messaging.addRequestHandler("frozen", (request) => request);
  const lost = next(session, "disconnect");
  between.freeze();
  const sent = session.messaging.sendRequestToPath("frozen", "sent into the void");
  assert.match((await lost).reason, /nothing came from the server for 200 ms/);
  const back = next(session, "reconnect");
  between.cut();
  between.open();
  assert.deepEqual(await back, { lossless: true, newSession: false });
  assert.equal(await sent, "sent into the void");
});

// ---- S-7: messages lost ----

test("S-7 (106) what was outstanding rejects, handlers register again, streams and filter handlers stay", async (t) => {
  const between = await cutter(t);
  const [session, asker] = [await open(t, between), await open(t, broker)];
  const [stays, goes, stream] = [unique("stays"), unique("goes"), unique("stream")];
  await session.messaging.addRequestHandler(stays, (_, { sessionProperties }) => Object.keys(sessionProperties), {
    sessionProperties: ["$Principal"],
  });
  await session.messaging.addRequestHandler(goes, () => "here", { reregister: false });
  session.messaging.addStreamHandler(stream, () => "stream", { addressed: true });
  const filter = `$SessionId is '${session.id}'`;
  const heard = [];
  session.messaging.addFilterResponseHandler(filter, ({ value }) => heard.push(value));
  const { id } = session;

  const { outstanding } = await loseMessages(t, between, session);
  const told = record(session);
  const waiting = session.messaging.sendRequestToPath(stays, null, { whenDisconnected: "wait" });
  const back = next(session, "reconnect");
  between.open();
  assert.deepEqual(await back, { lossless: false, newSession: false });
  assertError(await outstanding, connectionLost);
  assert.deepEqual(told, [
    ["statechange", { from: "recovering", to: "connected" }],
    ["messageloss", { requests: 1, handlers: 1 }],
    ["reconnect", { lossless: false, newSession: false }],
  ]);
  assert.equal(session.id, id);
  assert.deepEqual(await waiting, ["$Principal"]);
  assert.deepEqual(await asker.messaging.sendRequestToPath(stays, null), ["$Principal"]);
  await fails(asker.messaging.sendRequestToPath(goes, null), unhandled);
  assert.equal(await asker.messaging.sendRequestToSession(stream, session.id, null), "stream");
  assert.equal(await session.messaging.sendRequestToFilter(filter, stream, null), 1);
  await session.ping();
  assert.deepEqual(heard, ["stream"]);
  // Lossless again, from the new count on.
  assert.deepEqual(await cutAndReturn(between, session), { lossless: true, newSession: false });
  assert.deepEqual(await asker.messaging.sendRequestToPath(stays, null), ["$Principal"]);
});

test("S-7 (106) a handler closed before is not registered again, another can be closed after", async (t) => {
  const between = await cutter(t);
  const [session, asker] = [await open(t, between), await open(t, broker)];
  const [before, later] = [unique("before"), unique("later")];
  const registration = await session.messaging.addRequestHandler(before, () => 1);
  await registration.close();
  const other = await session.messaging.addRequestHandler(later, () => 1);
  await loseMessages(t, between, session);
  await fails(other.close(), notConnected);
  const told = record(session);
  const back = next(session, "reconnect");
  between.open();
  await back;
  assert.deepEqual(told[1], ["messageloss", { requests: 1, handlers: 1 }]);
  await session.ping(); // by then it is registered
  assert.equal(await asker.messaging.sendRequestToPath(later, null), 1);
  await other.close();
  for (const path of [before, later]) await fails(asker.messaging.sendRequestToPath(path, null), unhandled);
});

test("S-7 (106) the handler of a request that was lost learns of it, and its answer goes nowhere", async (t) => {
  const between = await cutter(t);
  const [session, asker] = [await open(t, between), await open(t, broker)];
  const path = unique("abandoned");
  const [called, answer] = [gate(), gate()];
  let signal;
  await session.messaging.addRequestHandler(path, async (_, context) => {
    signal = context.signal;
    called.open();
    await answer.opened;
    return "too late";
  });
  const sent = rejection(asker.messaging.sendRequestToPath(path, null));
  await called.opened;
  await loseMessages(t, between, session);
  assert.equal(signal.aborted, false);
  const back = next(session, "reconnect");
  between.open();
  await back;
  assertError(await sent, { code: "SESSION_CLOSED", reason: 101, outcome: "unknown" });
  assert.equal(signal.aborted, true);
  assertError(signal.reason, connectionLost);
  answer.open();
  await session.ping();
  assert.equal(session.state, "connected");
});

test("S-7 an answer to a request of before a message loss never answers a later one", async (t) => {
  const successor = await anotherBroker(t);
  const between = await cutter(t);
  const [session, asker, laterAsker] = [await open(t, between), await open(t, broker), await open(t, successor)];
  const path = unique("stale");
  const calls = [];
  const arrived = [gate(), gate()];
  await session.messaging.addRequestHandler(path, (name, { signal }) => {
    const answer = gate();
    calls.push({ answer, signal });
    arrived[calls.length - 1].open();
    return answer.opened.then(() => `answer to ${name}`);
  });
  const first = rejection(asker.messaging.sendRequestToPath(path, "first", { timeout: 5000 }));
  await arrived[0].opened;
  between.leadTo(successor);
  assert.deepEqual(await cutAndReturn(between, session), { lossless: false, newSession: true });
  await session.ping();
  // For the other broker it is the first request of this session again.
  const second = laterAsker.messaging.sendRequestToPath(path, "second");
  await arrived[1].opened;
  calls[0].answer.open();
  await session.ping();
  await laterAsker.ping();
  assert.equal(await isSettled(second), false);
  calls[1].answer.open();
  assert.equal(await second, "answer to second");
  assert.deepEqual([calls[0].signal.aborted, calls[1].signal.aborted], [true, false]);
  await asker.close();
  assertError(await first, closedUnanswered);
});

test("S-7 handlers are registered again before what waited is sent", async (t) => {
  const server = await scripted(t, {}, null, { code: 106 });
  const session = await open(t, server, { connectTimeout: 200 });
  const registering = session.messaging.addRequestHandler("again", () => 1);
  server.attempts[0].respond(await server.attempts[0].next());
  await registering;
  await server.attempts[0].cut();
  await server.attempt(1);
  const waiting = session.messaging.sendRequestToPath("waiting", 1, { whenDisconnected: "wait" });
  const third = await server.attempt(2);
  assert.equal((await third.next()).service, REGISTER);
  const message = await third.next();
  assert.equal(message.service, SEND_TO_PATH);
  third.respond(message, text("done"));
  assert.equal(await waiting, "done");
});

test("S-7 a registration that the broker no longer accepts ends, and the session goes on", async (t) => {
  const server = await scripted(t, {}, { code: 106 });
  const session = await open(t, server);
  const registering = session.messaging.addRequestHandler("refused", () => 1);
  server.attempts[0].respond(await server.attempts[0].next());
  const registration = await registering;
  await server.attempts[0].cut();
  const second = await server.attempt(1);
  const again = await second.next();
  second.send({ type: ERROR, conversation: again.conversation, reason: 103, text: "not any more" });
  const to = join(varint(registrationOf(again)), sessionIdBytes(SCRIPTED_ID), string("refused"), list([]), text("x"));
  second.send({ type: REQUEST, service: DELIVERY, conversation: 9n, body: to });
  const answer = await second.next();
  assert.deepEqual([answer.type, answer.conversation, answer.reason], [ERROR, 9n, 109]);
  await registration.close();
  assert.equal(second.waiting, 0, "there is nothing to take back");
});

function registrationOf({ body }) {
  const reader = new Reader(body);
  reader.count();
  reader.string();
  reader.string();
  reader.list(() => reader.string());
  return reader.varint();
}

test("S-7 a registration under way when messages are lost rejects, and is not made again", async (t) => {
  const server = await scripted(t, {}, { code: 106 });
  const session = await open(t, server);
  const registering = session.messaging.addRequestHandler("under way", () => 1);
  await server.attempts[0].next();
  const told = record(session);
  const back = next(session, "reconnect");
  await server.attempts[0].cut();
  await fails(registering, connectionLost);
  await back;
  assert.deepEqual(told[3], ["messageloss", { requests: 0, handlers: 0 }]);
  assert.equal(server.attempts[1].waiting, 0);
});

// ---- S-8: while there is no connection ----

test("S-8 while a session recovers every call fails at once, and streams can be added", async (t) => {
  const between = await cutter(t);
  const session = await open(t, between);
  await loseFor(between, session);
  assert.equal(session.state, "recovering");
  await rejectsEverywhere(session, notConnected, { local: null });
  await fails(session.messaging.sendRequestToPath("a", 1, { whenDisconnected: "fail" }), notConnected);
  session.messaging.addStreamHandler("later", () => "there", { addressed: true });
  session.messaging.addFilterResponseHandler("all", () => {}).close();
  const back = next(session, "reconnect");
  between.open();
  await back;
  assert.equal(await session.messaging.sendRequestToSession("later", session.id, null), "there");
});

test("S-8 a request that waits is sent when there is a connection, in the order of the calls", async (t) => {
  const between = await cutter(t);
  const [session, other] = [await open(t, between), await open(t, broker)];
  const path = unique("waits");
  const asked = [];
  const answer = (request) => {
    asked.push(request);
    return request;
  };
  await other.messaging.addRequestHandler(path, answer);
  other.messaging.addStreamHandler(path, answer, { addressed: true });
  const filter = `$SessionId is '${other.id}'`;
  await loseFor(between, session);
  const wait = { whenDisconnected: "wait" };
  const { messaging } = session;
  const sent = [
    messaging.sendRequestToPath(path, 1, wait),
    messaging.sendRequestToSession(path, other.id, 2, wait),
    messaging.sendRequestToFilter(filter, path, 3, wait),
    collect(messaging.gather(filter, path, 4, wait)),
    messaging.sendRequestToPath(path, 5, wait),
  ];
  for (const promise of sent) assert.equal(await isSettled(promise), false);
  between.open();
  assert.deepEqual(await Promise.all(sent), [1, 2, 1, [{ sessionId: other.id, value: 4 }], 5]);
  assert.deepEqual(asked, [1, 2, 3, 4, 5]);
});

test("S-8 a deadline that passes while a request waits says that nothing was sent", async (t) => {
  const server = await scripted(t, {}, null, { code: 105, recovery: 1 });
  const session = await open(t, server, { connectTimeout: 200 });
  const lost = next(session, "disconnect");
  await server.attempts[0].cut();
  await lost;
  const wait = { whenDisconnected: "wait", timeout: 20 };
  const { messaging } = session;
  await Promise.all(
    [
      messaging.sendRequestToPath("a", 1, wait),
      messaging.sendRequestToSession("a", session.id, 1, wait),
      messaging.sendRequestToFilter("all", "a", 1, wait),
      messaging.gather("all", "a", 1, wait).expected,
      collect(messaging.gather("all", "a", 1, wait)),
    ].map((promise) => fails(promise, notSentInTime)),
  );
  await next(session, "reconnect");
  const after = session.messaging.sendRequestToPath("after", 1);
  const third = await server.attempt(2);
  const message = await third.next();
  assert.equal(readSendToPath(message.body).path, "after");
  third.respond(message, text(""));
  await after;
});

test("S-8 a deadline goes on after the request was sent late", async (t) => {
  const server = await scripted(t, {}, { code: 105, recovery: 1 });
  const session = await open(t, server);
  const lost = next(session, "disconnect");
  await server.attempts[0].cut();
  await lost;
  const start = performance.now();
  const sent = rejection(session.messaging.sendRequestToPath("a", 1, { whenDisconnected: "wait", timeout: 60 }));
  await (await server.attempt(1)).next();
  assertError(await sent, { code: "TIMED_OUT", outcome: "unknown" });
  assert.ok(performance.now() - start < 500);
});

test("S-8 a request that is aborted while it waits is never sent", async (t) => {
  const between = await cutter(t);
  const session = await open(t, between);
  const path = unique("aborted");
  const asked = [];
  await session.messaging.addRequestHandler(path, (request) => asked.push(request));
  await loseFor(between, session);
  const reason = new Error("changed my mind");
  const controller = new AbortController();
  const given = { whenDisconnected: "wait", signal: controller.signal };
  const { messaging } = session;
  const sends = [
    messaging.sendRequestToPath(path, "aborted", given),
    messaging.sendRequestToSession(path, session.id, "aborted", given),
    messaging.sendRequestToFilter("all", path, "aborted", given),
    collect(messaging.gather("all", path, "aborted", given)),
  ];
  const stays = messaging.sendRequestToPath(path, "stays", { whenDisconnected: "wait" });
  controller.abort(reason);
  for (const sent of sends) {
    assert.ok(await isSettled(sent.catch(() => {})));
    assert.equal(await rejection(sent), reason);
  }
  between.open();
  await stays;
  assert.deepEqual(asked, ["stays"]);
});

test("S-8 what waits survives a new session, and reaches what is registered there", async (t) => {
  const other = await anotherBroker(t);
  const between = await cutter(t);
  const [session, asked] = [await open(t, between), await open(t, other)];
  await asked.messaging.addRequestHandler("waits", (request) => request);
  await loseFor(between, session);
  const waiting = session.messaging.sendRequestToPath("waits", "still here", { whenDisconnected: "wait" });
  between.leadTo(other);
  between.open();
  assert.equal(await waiting, "still here");
});

test("S-8 what waits says that it was not sent, however the session ends", async (t) => {
  for (const [end, script] of [
    [(session) => session.close(), [{}, null]],
    [() => {}, [{}, { code: 116 }]],
    [() => {}, [{}, null]],
  ]) {
    const server = await scripted(t, ...script);
    const session = await open(t, server, { reconnect: { timeout: 300, ...soon } });
    const { messaging } = session;
    const sends = [];
    session.on("disconnect", () => {
      const wait = { whenDisconnected: "wait" };
      sends.push(messaging.sendRequestToPath("a", 1, wait), collect(messaging.gather("all", "a", 1, wait)));
      const failing = sends.map((sent) => fails(sent, closedUnsent));
      sends.splice(0, 2, ...failing);
    });
    await server.attempts[0].cut();
    await server.attempt(1);
    end(session);
    await session.closed;
    await Promise.all(sends);
    assert.equal(sends.length, 2);
  }
});

// ---- S-9: everything settles ----

const outstanding = (session) => [
  session.messaging.sendRequestToPath("a", 1),
  session.messaging.sendRequestToSession("a", session.id, 1),
  session.messaging.sendRequestToFilter("all", "a", 1),
  session.messaging.gather("all", "a", 1).expected,
  collect(session.messaging.gather("all", "a", 1)),
  session.messaging.addRequestHandler("a", () => 1),
  session.messaging.services.USER_PING.invoke(new Uint8Array()),
  session.ping(),
  session.getProperties(),
  session.changePrincipal("admin", "password"),
];

for (const [what, script, end, expected, code] of [
  ["no connection came about in time", [{}, null], () => {}, connectionLost, "CONNECTION_TIMEOUT"],
  ["the credentials are refused", [{}, { code: 116 }], () => {}, connectionLost, "ACCESS_DENIED"],
  ["the session is closed meanwhile", [{}, null], (session) => session.close(), closedUnanswered, "CLOSED_BY_CLIENT"],
  ["messages were lost", [{}, { code: 106 }], () => {}, connectionLost, undefined],
  ["the server has forgotten the session", [{}, { code: 117 }, { id: OTHER_ID }], () => {}, connectionLost, undefined],
]) {
  test(`S-9 everything that was outstanding when the connection went rejects with an Error when ${what}`, async (t) => {
    const server = await scripted(t, ...script);
    const timeout = code === "CONNECTION_TIMEOUT" ? 300 : 60_000;
    const session = await open(t, server, { reconnect: { timeout, ...soon } });
    const failing = outstanding(session).map((promise) => fails(promise, expected));
    await server.attempts[0].next();
    const settled = code ? session.closed : next(session, "reconnect");
    await server.attempts[0].cut();
    await server.attempt(1);
    end(session);
    await Promise.all(failing);
    assert.equal((await settled).code, code);
    assert.equal(session.state, code ? "closed" : "connected");
  });
}

test("S-9 an abort of the server after a reconnection ends the session", async (t) => {
  const server = await scripted(t, {}, { code: 105, recovery: 1 });
  const session = await open(t, server);
  const failing = outstanding(session).map((promise) => fails(promise, closedUnanswered));
  await server.attempts[0].cut();
  (await server.attempt(1)).send({ type: ABORT });
  await Promise.all(failing);
  assert.equal((await session.closed).code, "CLOSED_BY_SERVER");
  assert.equal(server.attempts.length, 2);
});

// ---- S-10: handlers of a session without a connection ----

test("S-10 a connected handler is preferred to one that is not", async (t) => {
  const path = unique("preferred");
  const [asker, there] = [await open(t, broker), await open(t, broker)];
  const away = await connectPeer(broker, { query: { r: 60_000 } });
  await away.register(path);
  await there.messaging.addRequestHandler(path, () => "there");
  await away.cut();
  // A filter does not match it any more when the broker has noticed.
  while ((await asker.messaging.sendRequestToFilter(`$SessionId is '${away.id}'`, path, 1)) > 0);
  const sends = Array.from({ length: 20 }, () => asker.messaging.sendRequestToPath(path, null));
  assert.deepEqual(await Promise.all(sends), Array(20).fill("there"));
});

test("S-10 a handler without a connection gets its requests when it is back", async (t) => {
  const between = await cutter(t);
  const path = unique("away");
  const [asker, above, away] = [await open(t, broker), await open(t, broker), await open(t, between)];
  await above.messaging.addRequestHandler(path, () => "above");
  await away.messaging.addRequestHandler(`${path}/below`, (request) => `${request} received`);
  await loseFor(between, away);
  const sent = asker.messaging.sendRequestToPath(`${path}/below`, "queued");
  await asker.ping();
  assert.equal(await isSettled(sent), false);
  between.open();
  assert.equal(await sent, "queued received");
});

test("S-10 a request for a handler without a connection waits no longer than the broker's own time", async (t) => {
  const impatient = await anotherBroker(t, "--request-timeout", "100ms");
  const asker = await open(t, impatient);
  const away = await connectPeer(impatient, { query: { r: 60_000 } });
  await away.register("away");
  await away.cut();
  await fails(asker.messaging.sendRequestToPath("away", 1), {
    code: "REQUEST_TIME_OUT",
    reason: 102,
    outcome: "unknown",
  });
  const back = await connectPeer(impatient, { query: { c: away.token, cs: 1, ss: 1 } });
  assert.equal(back.code, 105);
  await back.close();
});

// ---- What the server says to a reconnection ----

for (const code of [114, 117, 118]) {
  test(`connection response ${code} to a reconnection leads to a new session under the same object`, async (t) => {
    const server = await scripted(t, {}, { code }, { id: OTHER_ID }, { code: 105, recovery: 1, id: OTHER_ID });
    const credentials = ["one", "two", "three", "four"];
    const session = await open(t, server, {
      principal: "somebody",
      credentials: () => credentials.shift(),
      properties: { team: "blue" },
    });
    const { messaging } = session;
    assert.equal(session.id, SCRIPTED_ID);
    const told = record(session);
    const back = next(session, "reconnect");
    await server.attempts[0].cut();
    await back;
    assert.deepEqual(told.slice(2), [
      ["statechange", { from: "recovering", to: "connected" }],
      ["messageloss", { requests: 0, handlers: 0 }],
      ["reconnect", { lossless: false, newSession: true }],
    ]);
    assert.equal(session.id, OTHER_ID);
    assert.equal(session.messaging, messaging);
    const [first, second, third] = server.attempts.map(({ query }) => query);
    assert.equal(second.c, SCRIPTED_TOKEN);
    const { password: _, ...fresh } = third;
    const { password: __, ...original } = first;
    assert.deepEqual(fresh, original, "the same options, and no token");
    assert.notEqual(third.password, first.password);
    const again = next(session, "reconnect");
    await server.attempts[2].cut();
    assert.deepEqual(await again, { lossless: true, newSession: false });
    assert.equal(session.id, OTHER_ID);
  });
}

test("a new session has the principal of the options again", async (t) => {
  const other = await anotherBroker(t);
  const between = await cutter(t);
  const session = await open(t, between, { principal: "client", credentials: "password" });
  await session.changePrincipal("admin", "password");
  await cutAndReturn(between, session);
  assert.equal(session.principal, "admin");
  assert.deepEqual(await session.getProperties(["$Principal"]), { $Principal: "admin" });
  between.leadTo(other);
  assert.deepEqual(await cutAndReturn(between, session), { lossless: false, newSession: true });
  assert.deepEqual(await session.getProperties(["$Principal"]), { $Principal: "client" });
  assert.equal(session.principal, "client");
});

test("a server that is initialising (119) is asked again, with the token", async (t) => {
  const server = await scripted(t, {}, { code: 119 }, { code: 119 }, { code: 105, recovery: 1 });
  const attempts = [];
  const delay = (attempt) => {
    attempts.push(attempt);
    return 1;
  };
  const session = await open(t, server, { reconnect: { delay } });
  const back = next(session, "reconnect");
  await server.attempts[0].cut();
  assert.deepEqual(await back, { lossless: true, newSession: false });
  assert.deepEqual(attempts, [1, 2, 3]);
  for (const { query } of server.attempts.slice(1)) assert.equal(query.c, SCRIPTED_TOKEN);
});

test("a server that is initialising for too long ends the session with CONNECTION_TIMEOUT", async (t) => {
  const server = await scripted(t, {}, { code: 119 });
  const session = await open(t, server, { reconnect: { timeout: 100, ...soon } });
  await server.attempts[0].cut();
  assert.equal((await session.closed).code, "CONNECTION_TIMEOUT");
});

for (const [what, response, code] of [
  ["102 (downgrade required)", { code: 102 }, "PROTOCOL_VERSION_MISMATCH"],
  ["111 (rejected)", { code: 111 }, "HANDSHAKE_REJECTED"],
  ["113 (licence exceeded)", { code: 113 }, "LICENSE_EXCEEDED"],
  ["115 (protocol error)", { code: 115 }, "HANDSHAKE_REJECTED"],
  ["116 (authentication failed)", { code: 116 }, "ACCESS_DENIED"],
  ["with another version", { version: 21, code: 105, recovery: 1 }, "PROTOCOL_VERSION_MISMATCH"],
  ["that is malformed", Buffer.of(0x23, 25, 105, 1), "HANDSHAKE_ERROR"],
]) {
  test(`connection response ${what} to a reconnection ends the session with ${code}`, async (t) => {
    const server = await scripted(t, {}, response);
    const session = await open(t, server);
    const lost = next(session, "disconnect");
    await server.attempts[0].cut();
    await lost;
    const told = record(session);
    const { byClient, reason } = await session.closed;
    closedBy(code)(told);
    assert.equal(byClient, false);
    assert.ok(reason.length > 10, reason);
    assert.equal(server.attempts.length, 2);
  });
}

test("105 from a server that wants what is no longer there leads to a new session", async (t) => {
  for (const recovery of [7, 0, -1]) {
    const server = await scripted(t, {}, { code: 105, recovery }, { id: OTHER_ID });
    const session = await open(t, server);
    const back = next(session, "reconnect");
    await server.attempts[0].cut();
    assert.deepEqual(await back, { lossless: false, newSession: true });
    await session.close();
  }
});

test("the token of the latest connection response is the one presented next", async (t) => {
  const token = "Bb+/".repeat(6);
  const response = connectionResponse({ code: 105, id: SCRIPTED_ID, maxMessageSize: 1 });
  response.write(token, 19, "latin1");
  const server = await scripted(t, {}, response, { code: 105, recovery: 1 });
  const session = await open(t, server);
  for (const attempt of [0, 1]) {
    const back = next(session, "reconnect");
    await server.attempts[attempt].cut();
    await back;
  }
  assert.deepEqual(
    server.attempts.map(({ query }) => query.c),
    [undefined, SCRIPTED_TOKEN, token],
  );
});

test("a server that breaks the protocol is left, and asked again after longer and longer", async (t) => {
  const server = await scripted(t, {}, { code: 105, recovery: 1 }, { id: OTHER_ID });
  const attempts = [];
  const delay = (attempt) => {
    attempts.push(attempt);
    return 1;
  };
  const session = await open(t, server, { reconnect: { delay } });
  for (const [index, violation] of [Buffer.of(99), Buffer.alloc(0), Buffer.of(CLOSE_REQUEST)].entries()) {
    const back = next(session, "reconnect");
    (await server.attempt(index)).send(violation);
    await back;
  }
  assert.deepEqual(attempts, [1, 2, 3]);
  assert.equal(session.state, "connected");
});

// ---- The options ----

test("`reconnect.delay` that throws or says nothing sensible is replaced by our own choice", async (t) => {
  const said = [];
  t.mock.method(console, "error", (error) => said.push(error));
  const broken = new Error("broken");
  const nonsense = [Number.NaN, -1, "soon", undefined, null, {}, Symbol("s"), () => 1, [3, 4], Promise.resolve(1), 0n];
  for (const result of [broken, ...nonsense]) {
    const server = await scripted(t, {}, { code: 105, recovery: 1 });
    const delay = () => {
      if (result === broken) throw broken;
      return result;
    };
    const session = await open(t, server, { reconnect: { delay } });
    const back = next(session, "reconnect");
    await server.attempts[0].cut();
    assert.deepEqual(await back, { lossless: true, newSession: false });
    await session.close();
  }
  assert.equal(said[0], broken, "and the application is told of what it threw");
});

test("without `reconnect.delay` the delays are random, from none at all on", async (t) => {
  const between = await cutter(t);
  const drawn = t.mock.method(Math, "random", () => 0);
  const session = await open(t, between, { reconnect: {} });
  between.shut();
  while (between.accepted() < 20) await new Promise(setImmediate);
  assert.ok(drawn.mock.callCount() >= 18);
  const back = next(session, "reconnect");
  between.open();
  await back;
});

test("`reconnect.delay` says how long to wait; a delay beyond the time left waits for its end", async (t) => {
  const server = await scripted(t, {}, null);
  const session = await open(t, server, { reconnect: { timeout: 100, delay: () => Infinity } });
  const start = performance.now();
  await server.attempts[0].cut();
  assert.equal((await session.closed).code, "CONNECTION_TIMEOUT");
  assert.ok(performance.now() - start >= 95);
  assert.equal(server.attempts.length, 1);
});

test("an attempt that is not answered within `connectTimeout` is given up, and there is another", async (t) => {
  const server = await scripted(t, {}, null, null, { code: 105, recovery: 1 });
  const session = await open(t, server, { connectTimeout: 150 });
  const back = next(session, "reconnect");
  await server.attempts[0].cut();
  await back;
  const [, second, third, fourth] = server.attempts;
  for (const given of [third.at - second.at, fourth.at - third.at])
    assert.ok(given >= 140 && given < 1000, `${given} ms`);
  await Promise.all([second.closed, third.closed]);
});

test("a credentials function is asked at every connection, and fails only that attempt", async (t) => {
  const server = await scripted(t, {}, { code: 119 }, { code: 105, recovery: 1 });
  const asked = [
    "first",
    () => {
      throw new Error("not now");
    },
    Promise.reject(new Error("nor now")),
    7,
    new TextEncoder().encode("bytes"),
    new Promise(() => {}),
    Promise.resolve("last"),
  ];
  asked[2].catch(() => {});
  const total = asked.length;
  const credentials = () => {
    const answer = asked.shift();
    return typeof answer === "function" ? answer() : answer;
  };
  const session = await open(t, server, { credentials, connectTimeout: 200 });
  const back = next(session, "reconnect");
  await server.attempts[0].cut();
  assert.deepEqual(await back, { lossless: true, newSession: false });
  assert.equal(asked.length, 0, `of ${total}`);
  const passwords = server.attempts.map(({ query }) => Buffer.from(query.password, "base64").toString("latin1"));
  assert.deepEqual(passwords, ["\x01\x05first", "\x02\x05bytes", "\x01\x04last"]);
});

// ---- close() in every state ----

const CLOSING_MOMENTS = {
  "waits for the next attempt": { script: [{}], reconnect: { delay: () => 60_000 } },
  "opens a connection": { script: [{}, null], at: (server) => server.attempt(1) },
  "asks for credentials": {
    script: [{}],
    credentials: () => {
      let asked = 0;
      return () => {
        asked += 1;
        return asked === 1 ? "password" : new Promise(() => {});
      };
    },
  },
};

for (const [what, { script, reconnect = soon, at = () => {}, credentials }] of Object.entries(CLOSING_MOMENTS)) {
  test(`close() while a session ${what} ends it at once, and nothing follows`, async (t) => {
    const server = await scripted(t, ...script);
    const session = await open(t, server, { reconnect, credentials: credentials?.() });
    const lost = next(session, "disconnect");
    await server.attempts[0].cut();
    await lost;
    await at(server);
    await new Promise(setImmediate);
    const told = record(session);
    const attempts = server.attempts.length;
    const closing = session.close();
    assert.equal(session.state, "closed");
    await Promise.all([closing, session.close()]);
    closedBy("CLOSED_BY_CLIENT")(told);
    const { code, byClient } = await session.closed;
    assert.deepEqual([code, byClient], ["CLOSED_BY_CLIENT", true]);
    if (attempts > 1) await server.attempts[1].closed;
    assert.equal(server.attempts.length, attempts);
    await rejectsEverywhere(session, closedUnsent);
  });
}

for (const [moment, script] of [
  ["statechange", [{}, { code: 106 }]],
  ["disconnect", [{}, { code: 106 }]],
  ["messageloss", [{}, { code: 106 }]],
  ["reconnect", [{}, { code: 106 }]],
  ["delay", [{}, { code: 106 }]],
]) {
  test(`close() in the middle of "${moment}" closes once, and the session is never open after that`, async (t) => {
    const server = await scripted(t, ...script);
    let session;
    const delay = () => {
      if (moment === "delay") session.close();
      return 1;
    };
    session = await open(t, server, { reconnect: { delay } });
    const told = record(session);
    const states = [];
    for (const event of EVENTS) session.on(event, () => states.push(session.state));
    if (moment !== "delay") session.on(moment, () => session.close());
    await server.attempts[0].cut();
    const { code } = await session.closed;
    assert.equal(code, "CLOSED_BY_CLIENT");
    assert.equal(told.filter(([event]) => event === "close").length, 1);
    assert.equal(told.at(-1)[0], "close");
    assert.ok(states.includes("closed"));
    assert.deepEqual(
      states.slice(states.indexOf("closed")).filter((state) => state !== "closed"),
      [],
    );
  });
}

// ---- Aborts, and answers that come when nobody waits ----

test("10,000 aborts at random moments, with cuts between them, settle as they should", async (t) => {
  const start = seed();
  t.diagnostic(`ANTIPHON_SEED=${start}`);
  const random = randomNumbers(start);
  const between = await cutter(t);
  const [asker, answerer] = [await open(t, between), await open(t, broker)];
  const path = unique("aborts");
  const turn = () => new Promise(setImmediate);
  await answerer.messaging.addRequestHandler(path, async (number) => {
    if (number % 3 === 0) await turn();
    return number;
  });
  const counts = { answered: 0, aborted: 0, notConnected: 0 };
  const outcomes = [];
  for (let number = 0; number < 10_000; number += 1) {
    const controller = new AbortController();
    const { signal } = controller;
    const reason = new Error(`abort ${number}`);
    const moment = Math.floor(random() * 5);
    if (moment === 0) controller.abort(reason);
    let settled = false;
    const whenDisconnected = random() < 0.5 ? "wait" : "fail";
    const sent = asker.messaging.sendRequestToPath(path, number, { signal, whenDisconnected });
    const outcome = sent.then(
      (value) => {
        assert.equal(value, number);
        counts.answered += 1;
      },
      (error) => {
        if (error.code === "NOT_CONNECTED") counts.notConnected += 1;
        else {
          assert.equal(error, reason);
          counts.aborted += 1;
        }
      },
    );
    outcomes.push(
      outcome.finally(() => {
        settled = true;
      }),
    );
    const abort = async (turns) => {
      for (let left = turns; left > 0; left -= 1) await turn();
      controller.abort(reason);
      for (let tick = 0; tick < 4; tick += 1) await null;
      assert.ok(settled, "in the same turn");
    };
    if (moment > 0 && moment < 4) outcomes.push(abort(moment - 1));
    if (random() < 0.004) between.cut();
    if (random() < 0.05) await turn();
  }
  await Promise.all(outcomes);
  t.diagnostic(JSON.stringify(counts));
  for (const count of Object.values(counts)) assert.ok(count > 0);
  while (asker.state !== "connected") await next(asker, "statechange");
  assert.equal(await asker.messaging.sendRequestToPath(path, "after"), "after");
});

test("answers given twice, late, or after the sender has gone change nothing for anybody", async (t) => {
  const impatient = await anotherBroker(t, "--request-timeout", "100ms");
  const asker = await open(t, impatient);
  const peer = await connectPeer(impatient);
  await peer.register("answers");
  const ask = (request, from = asker) => from.messaging.sendRequestToPath("answers", request);
  const twice = ask("twice");
  const delivery = await peer.next({ service: DELIVERY });
  peer.respond(delivery, text("first"));
  peer.respond(delivery, text("second"));
  peer.fail(delivery, 9003, "third");
  assert.equal(await twice, "first");

  const late = rejection(ask("late"));
  const slow = await peer.next({ service: DELIVERY });
  assert.equal((await late).code, "REQUEST_TIME_OUT");
  peer.respond(slow, text("too late"));

  const leaver = await open(t, impatient);
  const left = rejection(ask("left", leaver));
  const orphan = await peer.next({ service: DELIVERY });
  await leaver.close();
  assertError(await left, closedUnanswered);
  peer.respond(orphan, text("nobody is there"));

  const last = ask("last");
  peer.respond(await peer.next({ service: DELIVERY }), text("last"));
  assert.equal(await last, "last");
  assert.equal(peer.isClosed, false);
  await peer.close();
});
