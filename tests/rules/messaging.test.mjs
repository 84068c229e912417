// Rules M-1 to M-20 of messaging. Where a rule is about bytes or about clients that are not ours, the peer is scripted.

import assert from "node:assert/strict";
import { after, test } from "node:test";
import { RejectedRequestError } from "antiphon";
import { startBroker } from "../support/broker.mjs";
import { assertError, collect, fails, gate, isSettled, open, openAll, unique } from "./support/client.mjs";
import { connectPeer, SCRIPTED_ID, startServer } from "./support/endpoint.mjs";
import {
  DELIVERY,
  ERROR,
  FILTER_RESPONSE,
  join,
  REQUEST,
  RESPONSE,
  readDelivery,
  readFilterOutcome,
  readFilterResponse,
  readSendToFilter,
  readSendToPath,
  SEND_TO_FILTER,
  SEND_TO_PATH,
  SYSTEM_PING,
  sessionId,
  text,
  USER_PING,
  value,
  varint,
} from "./support/wire.mjs";

const broker = await startBroker();
const impatient = await startBroker(["--request-timeout", "100ms", "--request-timeout-for", "patient=1h"]);
after(() => Promise.all([broker.stop(), impatient.stop()]));

const unhandled = { code: "UNHANDLED_MESSAGE", reason: 109, outcome: "refused" };
const closedHandler = { code: "SESSION_CLOSED", reason: 101, outcome: "unknown" };
const invalidPath = { code: "INVALID_PATH", reason: 202, outcome: "refused" };

async function peerAt(t, at, given) {
  const peer = await connectPeer(at, given);
  t.after(() => peer.close());
  return peer;
}

/** A filter that only these sessions match. */
const filterFor = (...sessions) => `$SessionId in [${sessions.map(({ id }) => `'${id}'`).join(" ")}]`;

test("M-1 a request to a path never reaches a stream, an addressed one never a registered handler", async (t) => {
  const [asker, answerer] = await openAll(t, broker, 2);
  const path = unique("worlds");
  const called = [];
  answerer.messaging.addStreamHandler(path, () => called.push("stream"), { addressed: true });
  await fails(asker.messaging.sendRequestToPath(path, null), unhandled);
  await answerer.messaging.addRequestHandler(path, () => called.push("handler"));
  await asker.messaging.sendRequestToPath(path, null);
  await asker.messaging.sendRequestToSession(path, answerer.id, null);
  await collect(asker.messaging.gather(filterFor(answerer), path, null));
  assert.deepEqual(called, ["handler", "stream", "stream"]);
  answerer.messaging.addStreamHandler(`${path}/none`, () => called.push("wrong"));
  await fails(asker.messaging.sendRequestToSession(`${path}/none`, answerer.id, null), unhandled);
});

test("M-1 an addressed request says nothing of its sender", async (t) => {
  const [asker, answerer] = await openAll(t, broker, 2);
  answerer.messaging.addStreamHandler("context", (_, context) => ({ ...context, has: "senderSessionId" in context }), {
    addressed: true,
  });
  assert.deepEqual(await asker.messaging.sendRequestToSession("context", answerer.id, {}), {
    path: "context",
    addressed: true,
    sessionProperties: {},
    requestType: "json",
    has: false,
  });
});

test("M-2 one slash at either end does not matter, and the path arrives as it was sent", async (t) => {
  const [asker, answerer] = await openAll(t, broker, 2);
  const path = unique("slashes");
  for (const registered of [path, `/${path}`, `${path}/`, `/${path}/`]) {
    const registration = await answerer.messaging.addRequestHandler(registered, (_, context) => context.path);
    assert.equal(registration.path, registered);
    for (const sent of [path, `/${path}`, `${path}/`, `/${path}/`, `/${path}/below/`]) {
      assert.equal(await asker.messaging.sendRequestToPath(sent, null), sent);
    }
    await registration.close();
    await fails(asker.messaging.sendRequestToPath(path, null), unhandled);
  }
});

test("M-2 what is no path is refused as INVALID_PATH, wherever it goes, and long paths are paths", async (t) => {
  const session = await open(t, broker);
  const { messaging } = session;
  const long = "é".repeat(1024); // 2048 bytes
  for (const path of ["", "/", "//", "a//b", "//a", "a//", "a\0b", "\0", `${long}a`, `/${long}`, "x".repeat(100_000)]) {
    await fails(messaging.sendRequestToPath(path, 1), invalidPath);
    await fails(messaging.sendRequestToSession(path, session.id, 1), invalidPath);
    await fails(messaging.sendRequestToFilter("all", path, 1), invalidPath);
    await fails(
      messaging.addRequestHandler(path, () => 1),
      invalidPath,
    );
  }
  await messaging.addRequestHandler(long, () => "long");
  assert.equal(await messaging.sendRequestToPath(long, 1), "long");
});

test("M-2 paths are compared by their characters and nothing else", async (t) => {
  const session = await open(t, broker);
  const root = unique("exact");
  const paths = ["a", "A", "%61", "é", "e\u0301", " ", "a ", ".", "..", "*", "?a=b", "#", "💡", "a\tb\nc", "$SYS"];
  for (const path of paths) await session.messaging.addRequestHandler(`${root}/${path}`, () => path);
  for (const path of paths) assert.equal(await session.messaging.sendRequestToPath(`${root}/${path}`, 1), path);
});

test("M-3 the longest registered path that is the path or a parent of it is chosen", async (t) => {
  const [asker, ...answerers] = await openAll(t, broker, 4);
  const root = unique("longest");
  const registered = [root, `${root}/a`, `${root}/a/b/c`];
  for (const [index, path] of registered.entries())
    await answerers[index].messaging.addRequestHandler(path, () => path);
  const expected = {
    "": root,
    "/a": `${root}/a`,
    "/ab": root,
    "/a/b": `${root}/a`,
    "/a/b/cd": `${root}/a`,
    "/a/b/c": `${root}/a/b/c`,
    "/a/b/c/d/e": `${root}/a/b/c`,
  };
  for (const [below, answer] of Object.entries(expected)) {
    assert.equal(await asker.messaging.sendRequestToPath(root + below, null), answer);
  }
  await fails(asker.messaging.sendRequestToPath(`${root}x`, null), unhandled);
});

test("M-3 of several sessions at the same path any one is chosen, and exactly one is asked", async (t) => {
  const [asker, ...answerers] = await openAll(t, broker, 4);
  const path = unique("any");
  let calls = 0;
  for (const { id, messaging } of answerers) {
    await messaging.addRequestHandler(path, () => {
      calls += 1;
      return id;
    });
  }
  const answers = await Promise.all(Array.from({ length: 300 }, () => asker.messaging.sendRequestToPath(path, null)));
  assert.equal(calls, 300);
  assert.deepEqual(new Set(answers), new Set(answerers.map(({ id }) => id)));
});

test("M-4 among equals those with fewer unanswered requests are preferred", async (t) => {
  const [asker, prompt] = await openAll(t, broker, 2);
  const stuck = await peerAt(t, broker);
  const path = unique("equals");
  await stuck.register(path);
  await prompt.messaging.addRequestHandler(path, () => "prompt");
  const answered = [];
  for (let count = 0; count < 400; count += 1) {
    asker.messaging.sendRequestToPath(path, null).then(
      () => answered.push(count),
      () => {}, // those of the stuck one, in the end
    );
    // What was sent before is done with when a ping is answered: chosen for, delivered, answered, passed on.
    for (const session of [asker, prompt, asker]) await session.ping();
  }
  // Two drawn at random, the less busy one taken: three quarters. Evenly it would be half.
  assert.ok(answered.length > 250, `${answered.length} of 400`);
});

test("M-4 a request whose recipient goes away fails and is not sent to another", async (t) => {
  const [asker, other] = await openAll(t, broker, 2);
  const path = unique("gone");
  const leaving = await peerAt(t, broker);
  await leaving.register(path);
  const sent = asker.messaging.sendRequestToPath(path, null);
  await leaving.next({ service: DELIVERY });
  let calls = 0;
  await other.messaging.addRequestHandler(path, () => {
    calls += 1;
    return calls;
  });
  await leaving.cut();
  await fails(sent, closedHandler);
  assert.equal(await asker.messaging.sendRequestToPath(path, null), 1);
});

test("M-4 the sender itself can be the handler", async (t) => {
  const session = await open(t, broker);
  const path = unique("self");
  await session.messaging.addRequestHandler(path, (_, { senderSessionId }) => senderSessionId);
  assert.equal(await session.messaging.sendRequestToPath(path, null), session.id);
});

test("M-5 a second registration at a path is HANDLER_CONFLICT and the first stays", async (t) => {
  const session = await open(t, broker);
  const path = unique("conflict");
  const first = await session.messaging.addRequestHandler(path, () => "first");
  for (const again of [path, `/${path}`, `${path}/`]) {
    await fails(
      session.messaging.addRequestHandler(again, () => "second"),
      {
        code: "HANDLER_CONFLICT",
        reason: 201,
        outcome: "refused",
      },
    );
    assert.equal(await session.messaging.sendRequestToPath(path, null), "first");
  }
  await first.close();
  await session.messaging.addRequestHandler(path, () => "second");
  assert.equal(await session.messaging.sendRequestToPath(path, null), "second");
});

test("M-5 a session may register a path and one below it, and different sessions the same path", async (t) => {
  const [session, other] = await openAll(t, broker, 2);
  const path = unique("below");
  await session.messaging.addRequestHandler(path, () => "above");
  await session.messaging.addRequestHandler(`${path}/b`, () => "below");
  assert.equal(await session.messaging.sendRequestToPath(`${path}/b`, null), "below");
  assert.equal(await session.messaging.sendRequestToPath(`${path}/c`, null), "above");
  await other.messaging.addRequestHandler(path, () => "other");
});

test("M-5 of two registrations that are under way at once the first is accepted and answers", async (t) => {
  const session = await open(t, broker);
  const path = unique("conflict");
  const [first, second] = await Promise.allSettled([
    session.messaging.addRequestHandler(path, () => "first"),
    session.messaging.addRequestHandler(path, () => "second"),
  ]);
  assertError(second.reason, { code: "HANDLER_CONFLICT", reason: 201, outcome: "refused" });
  assert.equal(await session.messaging.sendRequestToPath(path, null), "first");
  // What is asked for in one go happens in that order.
  const [, replaced, answer] = await Promise.all([
    first.value.close(),
    session.messaging.addRequestHandler(path, () => "replaced"),
    session.messaging.sendRequestToPath(path, null),
  ]);
  assert.equal(answer, "replaced");
  assert.equal(replaced.path, path);
});

test("M-6 closing a registration is acknowledged, and what was delivered before may still be answered", async (t) => {
  const [asker, answerer] = await openAll(t, broker, 2);
  const path = unique("close");
  const called = gate();
  const answer = gate();
  const registration = await answerer.messaging.addRequestHandler(path, async () => {
    called.open();
    await answer.opened;
    return "late";
  });
  const sent = asker.messaging.sendRequestToPath(path, null);
  await called.opened;
  await registration.close();
  await fails(asker.messaging.sendRequestToPath(path, null), unhandled);
  answer.open();
  assert.equal(await sent, "late");
  await registration.close();
});

test("M-6 a registration that the broker has not let go of answers until it has", async (t) => {
  const [asker, answerer] = await openAll(t, broker, 2);
  const path = unique("close");
  const registration = await answerer.messaging.addRequestHandler(path, () => "still here");
  const sends = Array.from({ length: 50 }, () => asker.messaging.sendRequestToPath(path, null));
  const closing = registration.close();
  for (const sent of await Promise.allSettled(sends)) {
    if (sent.status === "rejected") assertError(sent.reason, unhandled);
    else assert.equal(sent.value, "still here");
  }
  await closing;
});

test("M-7 the properties that come with a request are those of its sender, at their values now", async (t) => {
  const answerer = await open(t, broker, { properties: { team: "of the recipient" } });
  const path = unique("properties");
  await answerer.messaging.addRequestHandler(path, (_, { sessionProperties }) => sessionProperties, {
    sessionProperties: ["team", "$Principal"],
  });
  const asker = await open(t, broker, { properties: { team: "blue", other: "x" } });
  assert.deepEqual(await asker.messaging.sendRequestToPath(path, {}), { team: "blue", $Principal: "" });
  await asker.changePrincipal("client", "password");
  assert.deepEqual(await asker.messaging.sendRequestToPath(path, {}), { team: "blue", $Principal: "client" });
});

test("M-8 a handler answers for everything below its path", async (t) => {
  const [asker, answerer] = await openAll(t, broker, 2);
  const path = unique("descendants");
  await answerer.messaging.addRequestHandler(path, (_, context) => context.path);
  for (const below of ["", "/a", "/a/b", `/${"x/".repeat(900)}x`]) {
    assert.equal(await asker.messaging.sendRequestToPath(path + below, null), path + below);
  }
});

test("M-9 the count is of the sessions that match now, with or without a stream", async (t) => {
  const room = unique("room");
  const asker = await open(t, broker);
  const count = () => asker.messaging.sendRequestToFilter(`room is '${room}'`, "count", null);
  assert.equal(await count(), 0);
  const [first, second] = await openAll(t, broker, 2, { properties: { room } });
  assert.equal(await count(), 2);
  first.messaging.addStreamHandler("count", () => 1, { addressed: true });
  assert.equal(await count(), 2);
  await second.close();
  assert.equal(await count(), 1);
  const late = gate();
  first.messaging.addStreamHandler("slow", () => late.opened.then(() => "slow"), { addressed: true });
  const gathering = asker.messaging.gather(`room is '${room}'`, "slow", null);
  assert.equal(await gathering.expected, 1);
  await open(t, broker, { properties: { room } });
  late.open();
  assert.deepEqual(await collect(gathering), [{ sessionId: first.id, value: "slow" }]);
});

test("M-10 the count is answered before anything else that the filter leads to", async (t) => {
  const peer = await peerAt(t, broker);
  for (const filterConversation of [7n, 2n ** 62n]) {
    const conversation = peer.sendToFilter(filterFor(peer), "order", text("?"), filterConversation);
    const count = await peer.next();
    assert.deepEqual([count.type, count.conversation], [RESPONSE, conversation]);
    assert.deepEqual(readFilterOutcome(count.body), { count: 1 });
    const delivery = await peer.next();
    assert.deepEqual([delivery.type, delivery.service], [REQUEST, SEND_TO_PATH]);
    assert.equal(readSendToPath(delivery.body).path, "order");
    peer.respond(delivery, text("!"));
    const response = await peer.next();
    assert.deepEqual([response.type, response.service], [REQUEST, FILTER_RESPONSE]);
    const { filterConversation: told, session, type } = readFilterResponse(response.body);
    assert.deepEqual([told, session, type], [filterConversation, peer.id, "string"]);
    peer.respond(response);
  }
});

test("M-10 the count comes first even for a session that cannot be asked any more", async (t) => {
  const [peer, slow] = [await peerAt(t, broker), await peerAt(t, broker)];
  peer.sendToFilter(filterFor(slow), "order", text("?"));
  await slow.next({ service: SEND_TO_PATH });
  await slow.cut();
  assert.equal((await peer.next()).type, RESPONSE);
  assert.equal(readFilterResponse((await peer.next()).body).reason, 101);
});

test("M-11 the sender is asked too if it matches", async (t) => {
  const [session, other] = await openAll(t, broker, 2);
  for (const { id, messaging } of [session, other]) messaging.addStreamHandler("own", () => id, { addressed: true });
  const answers = await collect(session.messaging.gather(filterFor(session, other), "own", null));
  assert.deepEqual(new Set(answers.map(({ value }) => value)), new Set([session.id, other.id]));
});

test("M-12 when nobody matches the count is 0, and nothing is called", async (t) => {
  const session = await open(t, broker);
  const calls = [];
  session.messaging.addFilterResponseHandler("has nothing", (response) => calls.push(response));
  assert.equal(await session.messaging.sendRequestToFilter("has nothing", "x", null), 0);
  const onResponse = (response) => calls.push(response);
  assert.equal(await session.messaging.sendRequestToFilter("has nothing", "x", null, { onResponse }), 0);
  assert.deepEqual(await collect(session.messaging.gather("has nothing", "x", null)), []);
  await session.ping();
  assert.deepEqual(calls, []);
});

test("M-13 every matched session is heard of exactly once, whatever becomes of it", async (t) => {
  const asker = await open(t, impatient);
  const streams = {
    answers: () => "yes",
    rejects: () => {
      throw new RejectedRequestError("no");
    },
    throws: () => {
      throw new Error("broken");
    },
    never: () => new Promise(() => {}),
  };
  const expected = {
    answers: { value: "yes" },
    rejects: { code: "REJECTED_REQUEST", reason: 9003, outcome: "failed", message: "no" },
    throws: { code: "CALLBACK_EXCEPTION", reason: 105, outcome: "failed", message: "broken" },
    never: { code: "REQUEST_TIME_OUT", reason: 102, outcome: "unknown" },
    "has none": unhandled,
    "cannot read": { code: "INCOMPATIBLE_DATATYPE", reason: 108, outcome: "refused" },
    leaves: closedHandler,
    "is cut": closedHandler,
    "answers nonsense": { code: "INVALID_DATA", reason: 106, outcome: "unknown" },
    "answers twice": { value: "once" },
  };
  const who = {};
  for (const [what, stream] of Object.entries(streams)) {
    const session = await open(t, impatient);
    session.messaging.addStreamHandler("once", stream, { addressed: true });
    who[session.id] = what;
  }
  who[(await open(t, impatient)).id] = "has none";
  const strict = await open(t, impatient);
  strict.messaging.addStreamHandler("once", () => 1, { addressed: true, requestType: "int64" });
  who[strict.id] = "cannot read";
  const peers = {};
  for (const what of ["leaves", "is cut", "answers nonsense", "answers twice"]) {
    peers[what] = await peerAt(t, impatient);
    who[peers[what].id] = what;
  }
  const heard = [];
  const done = gate();
  const count = await asker.messaging.sendRequestToFilter(
    filterFor(...Object.keys(who).map((id) => ({ id }))),
    "once",
    "?",
    {
      onResponse: (response) => {
        heard.push(response);
        if (heard.length === 10) done.open();
      },
    },
  );
  assert.equal(count, 10);
  const asked = (what) => peers[what].next({ service: SEND_TO_PATH });
  await asked("leaves");
  peers.leaves.close();
  await asked("is cut");
  peers["is cut"].cut();
  peers["answers nonsense"].respond(await asked("answers nonsense"), Buffer.from("nonsense"));
  const twice = await asked("answers twice");
  peers["answers twice"].respond(twice, text("once"));
  peers["answers twice"].respond(twice, text("again"));
  peers["answers twice"].fail(twice, 105, "again");
  await done.opened;
  await asker.ping();
  assert.equal(heard.length, 10);
  assert.deepEqual(
    heard.map(({ received, expected: of }) => [received, of]),
    heard.map((_, index) => [index + 1, 10]),
  );
  for (const { sessionId, value: answer, error, filter, path } of heard) {
    const what = who[sessionId];
    delete who[sessionId];
    if (expected[what].value) assert.deepEqual([answer, error], [expected[what].value, undefined]);
    else assertError(error, expected[what]);
    assert.ok(filter.startsWith("$SessionId in") && path === "once");
  }
  assert.deepEqual(who, {});
});

test("M-14 a sender that acknowledges no filter response goes on getting them", async (t) => {
  const [silent, answerer] = [await peerAt(t, broker), await open(t, broker)];
  answerer.messaging.addStreamHandler("deaf", (n) => n, { addressed: true });
  for (let count = 0; count < 300; count += 1) {
    silent.sendToFilter(filterFor(answerer), "deaf", text(String(count)));
    const { type, bytes } = readFilterResponse((await silent.next({ service: FILTER_RESPONSE })).body);
    assert.deepEqual(value(type, bytes), text(String(count)));
  }
});

test("M-14 an acknowledgement that is an error, or comes twice, does no harm", async (t) => {
  const [peer, answerer] = [await peerAt(t, broker), await open(t, broker)];
  answerer.messaging.addStreamHandler("acks", () => 1, { addressed: true });
  for (let round = 0; round < 3; round += 1) {
    peer.sendToFilter(filterFor(answerer), "acks", text("?"));
    const response = await peer.next({ service: FILTER_RESPONSE });
    peer.respond(response);
    peer.respond(response);
    peer.fail(response, 100, "what was that?");
    peer.respond(response, Buffer.from("not empty"));
  }
  assert.equal((await peer.ask(USER_PING)).type, RESPONSE);
});

test("M-14 our own client acknowledges every filter response, whether or not anybody waits for it", async (t) => {
  const server = await startServer();
  t.after(() => server.stop());
  const session = await open(t, server);
  const [connection] = server.connections;
  const abandoned = new AbortController();
  session.messaging.sendRequestToFilter("all", "a", 1, { signal: abandoned.signal }).catch(() => {});
  const { body } = await connection.next({ service: SEND_TO_FILTER });
  abandoned.abort();
  const { filterConversation } = readSendToFilter(body);
  for (const conversation of [filterConversation, 999n]) {
    for (const outcome of [join(Buffer.of(0), text("x")), Buffer.of(1, 109, 0)]) {
      const answer = await connection.ask(FILTER_RESPONSE, join(varint(conversation), sessionId(SCRIPTED_ID), outcome));
      assert.deepEqual([answer.type, answer.body.length], [RESPONSE, 0]);
    }
  }
});

test("M-15 the broker gives up on a recipient after its time, by path if so configured", async (t) => {
  const [asker, peer] = [await open(t, impatient), await peerAt(t, impatient)];
  const path = unique("never");
  await peer.register(path);
  await peer.register("patient");
  const timedOut = { code: "REQUEST_TIME_OUT", reason: 102, outcome: "unknown" };
  const start = performance.now();
  const patient = [
    asker.messaging.sendRequestToPath("patient/below", null),
    asker.messaging.sendRequestToSession("patient", peer.id, null),
  ];
  await Promise.all([
    fails(asker.messaging.sendRequestToPath(path, null), timedOut),
    fails(
      asker.messaging.sendRequestToPath("/patientx", null).catch((error) => Promise.reject(error)),
      unhandled,
    ),
    fails(asker.messaging.sendRequestToSession(path, peer.id, null), timedOut),
    collect(asker.messaging.gather(filterFor(peer), path, null)).then(([{ error }]) => assertError(error, timedOut)),
  ]);
  const elapsed = performance.now() - start;
  assert.ok(elapsed >= 95 && elapsed < 1000, `${elapsed} ms`);
  for (const sent of patient) assert.equal(await isSettled(sent), false);
  peer.respond(await peer.next({ service: DELIVERY }), text("in time"));
  peer.respond(await peer.next({ service: SEND_TO_PATH }), text("in time"));
  assert.deepEqual(await Promise.all(patient), ["in time", "in time"]);
});

test("M-15 our own deadline comes first unless it is longer than the broker's", async (t) => {
  const [asker, peer] = [await open(t, impatient), await peerAt(t, impatient)];
  const path = unique("never");
  await peer.register(path);
  await fails(asker.messaging.sendRequestToPath(path, null, { timeout: 20 }), {
    code: "TIMED_OUT",
    outcome: "unknown",
  });
  await fails(asker.messaging.sendRequestToPath(path, null, { timeout: 60_000 }), {
    code: "REQUEST_TIME_OUT",
    reason: 102,
    outcome: "unknown",
  });
});

test("M-16 the first answer counts, later ones harm nobody", async (t) => {
  const [asker, peer] = [await open(t, broker), await peerAt(t, broker)];
  const path = unique("twice");
  await peer.register(path);
  const answers = {
    value: (request) => peer.respond(request, text("first")),
    error: (request) => peer.fail(request, 9003, "first"),
  };
  for (const [first, answer] of Object.entries(answers)) {
    const sent = asker.messaging.sendRequestToPath(path, null);
    const request = await peer.next({ service: DELIVERY });
    answer(request);
    for (const later of Object.values(answers)) later(request);
    peer.fail(request, 105, "later");
    peer.respond(request, Buffer.from("malformed"));
    if (first === "value") assert.equal(await sent, "first");
    else await fails(sent, { code: "REJECTED_REQUEST", reason: 9003, outcome: "failed", message: "first" });
  }
  peer.respond({ conversation: 123_456_789n }, text("to nothing"));
  assert.equal((await peer.ask(USER_PING)).type, RESPONSE);
});

test("M-16 an answer after the time allowed is dropped, and the session that gave it goes on", async (t) => {
  const [asker, peer] = [await peerAt(t, impatient), await peerAt(t, impatient)];
  const path = unique("late");
  await peer.register(path);
  const conversation = asker.sendToPath(path, text("?"));
  const request = await peer.next({ service: DELIVERY });
  assert.equal((await asker.answerTo(conversation)).reason, 102);
  peer.respond(request, text("late"));
  assert.equal((await peer.ask(USER_PING)).type, RESPONSE);
  assert.equal((await asker.ask(USER_PING)).type, RESPONSE);
  assert.equal(asker.take(), undefined);
});

test("M-17 names and bytes of values pass as they are, both ways and by every address", async (t) => {
  const [asker, answerer] = [await peerAt(t, broker), await peerAt(t, broker)];
  const path = unique("opaque");
  await answerer.register(path);
  const odd = [
    value("json", [0xff, 0xff]),
    value("no such type", [1, 2, 3]),
    value("", []),
    value("JSON", [0xf6]),
    value("\u0000💡", Buffer.alloc(70_000, 7)),
    value(path, [0xf6]), // what the official Python client sends for None
  ];
  for (const sent of odd) {
    const back = join(sent);
    asker.sendToPath(path, sent);
    const delivery = await answerer.next({ service: DELIVERY });
    const { type, bytes } = readDelivery(delivery.body);
    assert.deepEqual(value(type, bytes), sent);
    answerer.respond(delivery, back);
    assert.deepEqual((await asker.next({ type: RESPONSE })).body, back);

    asker.sendToSession(answerer.id, path, sent);
    const addressed = await answerer.next({ service: SEND_TO_PATH });
    assert.deepEqual(readSendToPath(addressed.body), { path, type, bytes });
    answerer.respond(addressed, back);
    assert.deepEqual((await asker.next({ type: RESPONSE })).body, back);

    asker.sendToFilter(filterFor(answerer), path, sent);
    const filtered = await answerer.next({ service: SEND_TO_PATH });
    assert.deepEqual(filtered.body, addressed.body);
    answerer.respond(filtered, back);
    const response = readFilterResponse((await asker.next({ service: FILTER_RESPONSE })).body);
    assert.deepEqual(value(response.type, response.bytes), back);
    asker.take({ type: RESPONSE });
  }
});

test("M-18 the text of an error is passed on word for word, up to 1024 characters", async (t) => {
  const [asker, peer] = [await open(t, broker), await peerAt(t, broker)];
  const path = unique("text");
  await peer.register(path);
  for (const said of ["", "line 1\nline 2\t\u0000", "💡".repeat(1024), "é".repeat(1025), "💡".repeat(5000)]) {
    const sent = asker.messaging.sendRequestToPath(path, null).catch((error) => error);
    peer.fail(await peer.next({ service: DELIVERY }), 9003, said);
    const expected = [...said].slice(0, 1024).join("");
    const error = await sent;
    if (said === "") assert.ok(error.message.length > 0);
    else assert.equal(error.message, expected);
  }
});

test("M-18 our own client sends a message and never a stack", async (t) => {
  const [asker, session] = [await peerAt(t, broker), await open(t, broker)];
  const path = unique("stack");
  await session.messaging.addRequestHandler(path, (kind) => {
    if (kind === "rejected") throw new RejectedRequestError("not today");
    if (kind === "thrown") throw new TypeError("broken");
    if (kind === "text") throw "only text";
    throw Object.assign(new Error("x".repeat(3000)), { stack: "secret" });
  });
  const expected = {
    rejected: [9003, "not today"],
    thrown: [105, "broken"],
    text: [105, "only text"],
    long: [105, "x".repeat(1024)],
  };
  for (const [kind, [reason, message]] of Object.entries(expected)) {
    const answer = await asker.answerTo(asker.sendToPath(path, text(kind)));
    assert.deepEqual([answer.type, answer.reason, answer.text], [ERROR, reason, message]);
  }
});

test("M-19 requests of one session arrive in the order in which they were sent", async (t) => {
  const [asker, answerer] = await openAll(t, broker, 2);
  const path = unique("order");
  const arrived = [];
  await answerer.messaging.addRequestHandler(path, (n) => arrived.push(n));
  answerer.messaging.addStreamHandler(path, (n) => arrived.push(n), { addressed: true });
  const sends = Array.from({ length: 500 }, (_, n) => {
    if (n % 3 === 0) return asker.messaging.sendRequestToPath(path, n);
    if (n % 3 === 1) return asker.messaging.sendRequestToSession(path, answerer.id, n);
    return asker.messaging.gather(filterFor(answerer), path, n).expected;
  });
  await Promise.all(sends);
  await answerer.ping();
  assert.deepEqual(
    arrived,
    Array.from({ length: 500 }, (_, n) => n),
  );
});

test("M-19 responses come in the order in which handlers finish", async (t) => {
  const [asker, answerer] = await openAll(t, broker, 2);
  const path = unique("order");
  const gates = Array.from({ length: 5 }, gate);
  await answerer.messaging.addRequestHandler(path, (n) => gates[n].opened.then(() => n));
  const finished = [];
  const sends = gates.map((_, n) => asker.messaging.sendRequestToPath(path, n).then((answer) => finished.push(answer)));
  for (const n of [3, 0, 4, 1, 2]) {
    gates[n].open();
    await sends[n];
  }
  assert.deepEqual(finished, [3, 0, 4, 1, 2]);
});

test("M-20 a recipient that answers no request holds up nothing, and lives as long as it answers pings", async (t) => {
  const pinging = await startBroker(["--ping-period", "100ms"]);
  t.after(() => pinging.stop());
  const [asker, other] = await openAll(t, pinging, 2);
  const slow = await connectPeer(pinging, { answersPings: false });
  await slow.register("slow");
  await other.messaging.addRequestHandler("fast", () => "fast");
  const waiting = Array.from({ length: 100 }, () => asker.messaging.sendRequestToPath("slow", null));
  for (const sent of waiting) sent.catch(() => {});
  for (let pings = 0; pings < 4; pings += 1) {
    slow.respond(await slow.next({ service: SYSTEM_PING }));
    assert.equal(await asker.messaging.sendRequestToPath("fast", null), "fast");
  }
  assert.equal(slow.isClosed, false);
  for (let count = 0; count < 100; count += 1) slow.respond(await slow.next({ service: DELIVERY }), text("done"));
  assert.deepEqual(new Set(await Promise.all(waiting)), new Set(["done"]));
});

test("M-20 a session that reads nothing for a while is neither ended nor in the way", async (t) => {
  const [asker, other] = await openAll(t, broker, 2);
  const paused = await peerAt(t, broker);
  await paused.register(unique("paused"));
  const path = unique("paused");
  await paused.register(path);
  await other.messaging.addRequestHandler(`${path}/fast`, () => "fast");
  paused.socket.pause();
  const waiting = Array.from({ length: 200 }, () => asker.messaging.sendRequestToPath(path, new Uint8Array(10_000)));
  for (let count = 0; count < 20; count += 1) {
    assert.equal(await asker.messaging.sendRequestToPath(`${path}/fast`, null), "fast");
  }
  paused.socket.resume();
  for (let count = 0; count < 200; count += 1) paused.respond(await paused.next({ service: DELIVERY }), text("done"));
  assert.equal((await Promise.all(waiting)).length, 200);
});

for (const [what, count, size] of [
  ["large", 40, 1 << 20],
  ["many", 4000, 10_000],
]) {
  test(`M-20 a burst of ${what} requests costs the handler's session nothing but time`, async (t) => {
    const [asker, answerer] = await openAll(t, broker, 2);
    const path = unique("burst");
    await answerer.messaging.addRequestHandler(path, ({ length }) => length);
    const bytes = new Uint8Array(size);
    const sends = Array.from({ length: count }, () => asker.messaging.sendRequestToPath(path, bytes));
    for (const { value: answer, reason } of await Promise.allSettled(sends)) {
      // Refusing what is too much is right; the sender knows that it may ask again.
      if (reason) assertError(reason, { code: "CLUSTER_ROUTING", reason: 112, outcome: "refused" });
      else assert.equal(answer, size);
    }
    assert.deepEqual([answerer.state, asker.state], ["connected", "connected"]);
    assert.equal(await asker.messaging.sendRequestToPath(path, Uint8Array.of(1)), 1);
  });
}

test("M-20 a burst of large answers costs the session that asked for them nothing but time", async (t) => {
  const asker = await open(t, broker);
  const answerers = await openAll(t, broker, 20);
  const answer = () => new Uint8Array(1 << 20);
  const path = unique("burst");
  for (const { messaging } of answerers) {
    messaging.addStreamHandler(path, answer, { addressed: true });
    await messaging.addRequestHandler(path, answer);
  }
  for (const { value: bytes } of await collect(asker.messaging.gather(filterFor(...answerers), path, null))) {
    assert.equal(bytes.length, 1 << 20);
  }
  const sends = Array.from({ length: 40 }, () => asker.messaging.sendRequestToPath(path, null));
  for (const bytes of await Promise.all(sends)) assert.equal(bytes.length, 1 << 20);
});
