// What a sender is told, row by row of the table in rules 4.6: code, reason and outcome
// exactly. After each the same session sends a good request.
//
// Rows that only an official client can cause are caused by a scripted peer. Not here: rows about reconnection (a
// handler or a sender that disconnects and comes back) and about permissions, which do not exist yet.

import assert from "node:assert/strict";
import { after, test } from "node:test";
import { datatypes, RejectedRequestError } from "antiphon";
import { startBroker } from "../support/broker.mjs";
import { DELIVERY, SEND_TO_PATH, text, value } from "../support/wire.mjs";
import { assertError, collect, fails, gate, isSettled, open, openAll, rejection, unique } from "./support/client.mjs";
import { connectPeer, SCRIPTED_ID, startServer } from "./support/endpoint.mjs";

const broker = await startBroker(["--request-timeout-for", "impatient=100ms"]);
after(() => broker.stop());

const good = await open({ after }, broker);
await good.messaging.addRequestHandler("good", (request) => request);
good.messaging.addStreamHandler("good", (request) => request, { addressed: true });

/** Opens sessions, runs a row, and lets its senders send good requests. */
function row(what, run) {
  test(what, async (t) => {
    const [asker, answerer] = await openAll(t, broker, 2);
    const peer = await connectPeer(broker);
    t.after(() => peer.close());
    await run({ asker, answerer, peer, t });
    assert.equal(asker.state, "connected");
    assert.equal(await asker.messaging.sendRequestToPath("good", "path"), "path");
    assert.equal(await asker.messaging.sendRequestToSession("good", good.id, "session"), "session");
    const gathering = asker.messaging.gather(`$SessionId is '${good.id}'`, "good", "filter");
    assert.deepEqual(await collect(gathering), [{ sessionId: good.id, value: "filter" }]);
  });
}

/** A request by each of the ways in which one can reach a session that is named; gives a promise of the response. */
function addressed(asker, { id }, path, request, given) {
  return [
    asker.messaging.sendRequestToSession(path, id, request, given),
    collect(asker.messaging.gather(`$SessionId is '${id}'`, path, request, given)).then(
      ([{ value: answer, error }]) => {
        if (error) throw error;
        return answer;
      },
    ),
  ];
}

/** Asserts that all reject with exactly this error, in whatever order. */
const allFail = (sends, expected) => Promise.all(sends.map((sent) => fails(sent, expected)));

/** Asserts that the answer of a handler and of a stream is this error. */
async function bothFail({ asker, answerer }, handler, expected, request = "?", given = undefined) {
  const path = unique("both");
  let ran = 0;
  const counted = (...args) => {
    ran += 1;
    return handler(...args);
  };
  await answerer.messaging.addRequestHandler(path, counted, given);
  answerer.messaging.addStreamHandler(path, counted, { ...given, addressed: true });
  const sends = [asker.messaging.sendRequestToPath(path, request), ...addressed(asker, answerer, path, request)];
  for (const error of await Promise.all(sends.map(rejection))) {
    assertError(error, expected);
    // Who is told that nothing happened may ask again.
    assert.ok(ran === 0 || !["not-sent", "refused"].includes(error.outcome), error.outcome);
  }
  return ran;
}

/** Lets a peer answer a request to a path and one to its session as a client other than ours does. */
async function peerAnswers({ asker, peer }, { handler, stream }, expected) {
  const path = unique("peer");
  const sends = [];
  if (handler) {
    await peer.register(path);
    sends.push([rejection(asker.messaging.sendRequestToPath(path, "?"))]);
    handler(await peer.next({ service: DELIVERY }));
  }
  if (stream) {
    sends.push(addressed(asker, peer, path, "?").map(rejection));
    for (let count = 0; count < 2; count += 1) stream(await peer.next({ service: SEND_TO_PATH }));
  }
  for (const error of await Promise.all(sends.flat())) assertError(error, expected);
}

const timedOut = { code: "REQUEST_TIME_OUT", reason: 102, outcome: "unknown" };
const unhandled = { code: "UNHANDLED_MESSAGE", reason: 109, outcome: "refused" };
const noSession = { code: "NO_SUCH_SESSION", reason: 107, outcome: "refused" };
const rejected = { code: "REJECTED_REQUEST", reason: 9003, outcome: "failed" };
const threw = { code: "CALLBACK_EXCEPTION", reason: 105, outcome: "failed" };
const incompatible = { code: "INCOMPATIBLE_DATATYPE", reason: 108, outcome: "refused" };

row("no handler matches the path: UNHANDLED_MESSAGE 109", async ({ asker, answerer }) => {
  const path = unique("none");
  await fails(asker.messaging.sendRequestToPath(path, 1), unhandled);
  const registration = await answerer.messaging.addRequestHandler(`${path}/below`, () => 1);
  await fails(asker.messaging.sendRequestToPath(path, 1), unhandled);
  await registration.close();
  await fails(asker.messaging.sendRequestToPath(`${path}/below`, 1), unhandled);
});

row("session id unknown or closed: NO_SUCH_SESSION 107", async ({ asker, answerer }) => {
  const { id } = answerer;
  await answerer.close();
  const [server, session] = id.split("-");
  const other = (half) => (BigInt(`0x${half}`) ^ 1n).toString(16);
  for (const unknown of [id, `${other(server)}-${session}`, `${server}-ffffffffffffffff`, "0-0"]) {
    await fails(asker.messaging.sendRequestToSession("a", unknown, 1), noSession);
  }
});

row("session exists, no stream: UNHANDLED_MESSAGE 109", async ({ asker, answerer }) => {
  await allFail(addressed(asker, answerer, "none", 1), unhandled);
  const stream = answerer.messaging.addStreamHandler("none", () => 1, { addressed: true });
  for (const path of ["/none", "none/", "none/below", "NONE"]) {
    await allFail(addressed(asker, answerer, path, 1), unhandled);
  }
  await stream.close();
  await allFail(addressed(asker, answerer, "none", 1), unhandled);
});

row("handler rejects: REJECTED_REQUEST 9003 with the handler's message", async (world) => {
  const reject = () => {
    throw new RejectedRequestError("not on Sundays");
  };
  assert.equal(await bothFail(world, reject, { ...rejected, message: "not on Sundays" }), 3);
  await bothFail(world, async () => reject(), { ...rejected, message: "not on Sundays" });
});

row("handler throws (ours): CALLBACK_EXCEPTION 105 with the message and no stack", async (world) => {
  const handler = () => {
    throw new TypeError("broken");
  };
  assert.equal(await bothFail(world, handler, { ...threw, message: "broken" }), 3);
  await bothFail(world, async () => handler(), { ...threw, message: "broken" });
  await bothFail(world, () => Symbol("no value"), threw);
});

row(
  "handler throws (JS handler, JS stream): CALLBACK_EXCEPTION 105, for a stream with the stack trace",
  async (world) => {
    const { peer } = world;
    const handler = (request) => peer.fail(request, 105, "Error: broken");
    await peerAnswers(world, { handler }, { ...threw, message: "Error: broken" });
    const stack = "Error: broken\n    at onRequest (app.js:1:2)\n    at async run";
    const stream = (request) => {
      peer.fail(request, 105, stack);
      peer.fail(request, 105, "Callback received an error");
    };
    await peerAnswers(world, { stream }, { ...threw, message: stack });
  },
);

row("handler throws (Python, unaddressed): 9003 Callback threw error, whatever was thrown", async (world) => {
  const handler = (request) => world.peer.fail(request, 9003, "Callback threw error");
  await peerAnswers(world, { handler }, { ...rejected, message: "Callback threw error" });
});

for (const [reason, code, outcome] of [
  [9003, "REJECTED_REQUEST", "failed"],
  [109, "UNHANDLED_MESSAGE", "refused"],
  [108, "INCOMPATIBLE_DATATYPE", "refused"],
  [107, "NO_SUCH_SESSION", "refused"],
]) {
  row(`handler throws (Python, addressed): ${code} ${reason} passes through`, async (world) => {
    const stream = (request) => world.peer.fail(request, reason, "said");
    await peerAnswers(world, { stream }, { code, reason, outcome, message: "said" });
  });
}

row(
  "handler throws (Python, addressed), anything else: nothing is sent, so REQUEST_TIME_OUT 102",
  async ({ asker, peer }) => {
    await allFail(addressed(asker, peer, "impatient", "?"), timedOut);
  },
);

row("Python session, addressed, no handler for the path: nothing is sent, so REQUEST_TIME_OUT 102", async (world) => {
  const sends = addressed(world.asker, world.peer, "impatient/none", "?");
  assert.deepEqual(await Promise.all(sends.map(isSettled)), [false, false]);
  await allFail(sends, timedOut);
});

row("request type not acceptable (JS stream): INCOMPATIBLE_DATATYPE 108", async (world) => {
  const stream = (request) => {
    world.peer.fail(request, 108, "Incompatible");
    world.peer.fail(request, 105, "Callback received an error");
  };
  await peerAnswers(world, { stream }, { ...incompatible, message: "Incompatible" });
});

row("request type not acceptable (JS handler with a request type): 105", async (world) => {
  const handler = (request) => world.peer.fail(request, 105, "parse failure");
  await peerAnswers(world, { handler }, { ...threw, message: "parse failure" });
});

row("request type not acceptable (ours): INCOMPATIBLE_DATATYPE 108, and no handler ran", async (world) => {
  assert.equal(await bothFail(world, () => 1, incompatible, "text", { requestType: "int64" }), 0);
});

row(
  "request bytes invalid for their type (JS stream): nothing is sent, so REQUEST_TIME_OUT 102",
  async ({ asker, peer }) => {
    await allFail(addressed(asker, peer, "impatient", "?"), timedOut);
  },
);

row("request bytes invalid for their type (ours): INVALID_DATA 106, and no handler ran", async ({ answerer, peer }) => {
  const path = unique("invalid");
  let ran = 0;
  const handler = () => {
    ran += 1;
  };
  await answerer.messaging.addRequestHandler(path, handler);
  answerer.messaging.addStreamHandler(path, handler, { addressed: true });
  for (const bad of [value("json", [0x9f]), value("string", [0x05]), value("int64", []), value("double", [0xfb])]) {
    assert.equal((await peer.answerTo(peer.sendToPath(path, bad))).reason, 106);
    assert.equal((await peer.answerTo(peer.sendToSession(answerer.id, path, bad))).reason, 106);
  }
  assert.equal(ran, 0);
  await answerer.messaging.addRequestHandler(`${path}/good`, () => "good");
  assert.equal((await peer.answerTo(peer.sendToPath(`${path}/good`, text("?")))).type, 6);
});

row("handler never answers: REQUEST_TIME_OUT 102 from the broker", async ({ asker, answerer }) => {
  const never = () => new Promise(() => {});
  await answerer.messaging.addRequestHandler("impatient", never);
  answerer.messaging.addStreamHandler("impatient", never, { addressed: true });
  const sends = [asker.messaging.sendRequestToPath("impatient", "?"), ...addressed(asker, answerer, "impatient", "?")];
  for (const error of await Promise.all(sends.map(rejection))) assertError(error, timedOut);
});

row("handler answers twice, or error after answer: the first counts", async ({ asker, peer }) => {
  const path = unique("twice");
  await peer.register(path);
  const sends = [asker.messaging.sendRequestToPath(path, "?"), ...addressed(asker, peer, path, "?")];
  for (let count = 0; count < 3; count += 1) {
    const request = await peer.next({ service: [DELIVERY, SEND_TO_PATH] });
    peer.respond(request, text("first"));
    peer.respond(request, text("second"));
    peer.fail(request, 105, "third");
  }
  assert.deepEqual(await Promise.all(sends), ["first", "first", "first"]);
});

row("handler answers twice, an answer after an error: the first counts", async (world) => {
  const twice = (request) => {
    world.peer.fail(request, 9003, "no");
    world.peer.fail(request, 105, "Callback received an error");
    world.peer.respond(request, text("yes"));
  };
  await peerAnswers(world, { handler: twice, stream: twice }, { ...rejected, message: "no" });
});

row(
  "handler answers with another type than the sender wanted: the sender's client fails it",
  async ({ asker, answerer }) => {
    const path = unique("type");
    const handler = () => "a text";
    await answerer.messaging.addRequestHandler(path, handler, { responseType: "string" });
    answerer.messaging.addStreamHandler(path, handler, { responseType: "string", addressed: true });
    const wanted = { responseType: "int64" };
    const expected = { code: "INCOMPATIBLE_DATATYPE", outcome: "failed" };
    const sends = [
      asker.messaging.sendRequestToPath(path, {}, wanted),
      asker.messaging.sendRequestToPath(path, datatypes.INT64(5)),
      ...addressed(asker, answerer, path, {}, wanted),
    ];
    for (const error of await Promise.all(sends.map(rejection))) assertError(error, expected);
  },
);

row("handler answers with what is no value of its type: the sender's client fails it", async ({ asker, peer }) => {
  const path = unique("bytes");
  await peer.register(path);
  const sends = [asker.messaging.sendRequestToPath(path, "?"), ...addressed(asker, peer, path, "?")];
  const failing = Promise.all(sends.map(rejection));
  for (let count = 0; count < 3; count += 1) {
    peer.respond(await peer.next({ service: [DELIVERY, SEND_TO_PATH] }), value("json", [0x9f, 0x01]));
  }
  for (const error of await failing) assertError(error, { code: "INVALID_DATA", outcome: "failed" });
});

for (const [how, leave] of [
  ["with a goodbye", (peer) => peer.close()],
  ["by closing the WebSocket", (peer) => peer.socket.close()],
  ["by losing the connection", (peer) => peer.cut()],
  ["by breaking the protocol", (peer) => peer.send(Buffer.of(99))],
]) {
  row(
    `handler session closes after the delivery, before answering, ${how}: SESSION_CLOSED 101, at once`,
    async ({ asker, peer }) => {
      const path = unique("leaves");
      await peer.register(path);
      const sends = [asker.messaging.sendRequestToPath(path, "?"), ...addressed(asker, peer, path, "?")];
      const failing = Promise.all(sends.map(rejection));
      for (let count = 0; count < 3; count += 1) await peer.next({ service: [DELIVERY, SEND_TO_PATH] });
      leave(peer);
      for (const error of await failing)
        assertError(error, { code: "SESSION_CLOSED", reason: 101, outcome: "unknown" });
      await fails(asker.messaging.sendRequestToPath(path, "?"), unhandled);
    },
  );
}

row("sender closes: the answer is discarded", async ({ asker, answerer, t }) => {
  const leaving = await open(t, broker);
  const path = unique("leaves");
  const called = gate();
  const answer = gate();
  await answerer.messaging.addRequestHandler(path, async (request) => {
    called.open();
    await answer.opened;
    return request;
  });
  const sent = leaving.messaging.sendRequestToPath(path, "discarded");
  await called.opened;
  await Promise.all([leaving.close(), fails(sent, { code: "SESSION_CLOSED", outcome: "unknown" })]);
  const other = asker.messaging.sendRequestToPath(path, "kept");
  answer.open();
  assert.equal(await other, "kept");
});

row("bad filter: the reports", async ({ asker }) => {
  const error = await fails(asker.messaging.sendRequestToFilter("Tier is 2", "a", 1), {
    code: "INVALID_FILTER",
    outcome: "refused",
  });
  assert.deepEqual(
    error.errors.map(({ line, column }) => [line, column]),
    [[1, 8]],
  );
});

const nobodyAsked = { code: "CLUSTER_ROUTING", reason: 112, outcome: "refused" };
const isFull = { code: "BUSY", reason: 10001, outcome: "refused" };
const TO_ANSWER = 5000; // most requests that one session has to answer; half of those that may wait for one sender

/** A session that has as much to answer at a path as it may, and never does. */
async function fullSession(t, asker, path) {
  const full = await open(t, broker);
  await full.messaging.addRequestHandler(path, () => new Promise(() => {}));
  const waiting = Array.from({ length: TO_ANSWER }, () => rejection(asker.messaging.sendRequestToPath(path, "?")));
  /** Ends it, and with it all that waits for it. */
  const close = async () => {
    await full.close();
    const closed = { code: "SESSION_CLOSED", reason: 101, outcome: "unknown" };
    for (const error of await Promise.all(waiting)) assertError(error, closed);
  };
  return { id: full.id, close };
}

row("M-21 a recipient has as much to answer as it may: refused, unless a handler has room", async (sessions) => {
  const { asker, answerer, t } = sessions;
  const path = unique("full");
  const full = await fullSession(t, asker, path);
  await allFail([asker.messaging.sendRequestToPath(path, "?"), ...addressed(asker, full, path, "?")], isFull);
  await answerer.messaging.addRequestHandler(path, () => "has room");
  for (let count = 0; count < 50; count += 1) {
    assert.equal(await asker.messaging.sendRequestToPath(path, "?"), "has room");
  }
  await full.close();
});

row("too many requests of a sender wait: refused, whatever the next one is", async ({ asker, answerer, t }) => {
  const full = [await fullSession(t, asker, unique("full")), await fullSession(t, asker, unique("full"))];
  await fails(asker.messaging.sendRequestToPath("good", "?"), nobodyAsked);
  await allFail(addressed(asker, answerer, "good", "?"), nobodyAsked);
  for (const each of full) await each.close();
});

row("too large a request to too many: refused, and nobody is asked", async ({ asker, answerer }) => {
  let ran = 0;
  answerer.messaging.addStreamHandler("many", () => (ran += 1), { addressed: true });
  const large = new Uint8Array(23 << 20);
  await fails(asker.messaging.sendRequestToFilter("all", "many", large), nobodyAsked);
  assert.equal(ran, 0);
});

for (const [reason, code] of [
  [110, "CLUSTER_REPARTITION"],
  [112, "CLUSTER_ROUTING"],
]) {
  test(`cluster moving: ${code} ${reason}, which says that nobody was asked`, async (t) => {
    const moving = new Set([1n, 2n, 4n]); // conversations; the filter takes two
    const server = await startServer((message, connection) => {
      if (moving.delete(message.conversation)) connection.fail(message, reason, "try again");
      else connection.respond(message, text("moved"));
    });
    t.after(() => server.stop());
    const { messaging } = await open(t, server);
    const expected = { code, reason, outcome: "refused", message: "try again" };
    await fails(messaging.sendRequestToPath("a", 1), expected);
    await fails(messaging.sendRequestToSession("a", SCRIPTED_ID, 1), expected);
    await fails(messaging.sendRequestToFilter("all", "a", 1), expected);
    assert.equal(await messaging.sendRequestToPath("a", 1), "moved");
  });
}
