// Rules M-9 to M-14: requests to a session filter.

import assert from "node:assert/strict";
import { test } from "node:test";
import { RejectedRequestError } from "antiphon";
import {
  FILTER_RESPONSE,
  join,
  REQUEST,
  RESPONSE,
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
} from "../../support/wire.mjs";
import { assertError, collect, filterFor, gate, open, openAll, unique } from "../support/client.mjs";
import { SCRIPTED_ID, startServer } from "../support/endpoint.mjs";
import { broker, closedHandler, impatient, peerAt, unhandled } from "./support.mjs";

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

test("M-14 a client that offers so gets filter responses one-way, on connections on which it does", async (t) => {
  const answerer = await open(t, broker);
  answerer.messaging.addStreamHandler("one-way", (n) => n, { addressed: true });
  const oneWay = async (peer) => {
    peer.sendToFilter(filterFor(answerer), "one-way", text("?"));
    return (await peer.next({ service: FILTER_RESPONSE })).conversation === 0n;
  };
  for (const antiphon of [undefined, "1", "2147483390"]) {
    const peer = await peerAt(t, broker, { query: antiphon ? { antiphon } : {} });
    assert.equal(await oneWay(peer), false, antiphon);
  }
  const query = { antiphon: "256", r: 60_000 };
  const first = await peerAt(t, broker, { query });
  for (let count = 0; count < 3; count += 1) assert.ok(await oneWay(first));
  // They count like all others: the count and the response, three times each.
  await first.cut();
  const second = await peerAt(t, broker, { query: { ...query, antiphon: "0", c: first.token, cs: 1, ss: 6 } });
  assert.equal(second.code, 105);
  assert.equal(await oneWay(second), false, "nothing is agreed on any more");
  await second.cut();
  const third = await peerAt(t, broker, { query: { ...query, c: first.token, cs: 1, ss: 8 } });
  assert.ok(third.code === 105 && (await oneWay(third)));
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
  // Except those that come one-way.
  const oneWay = join(varint(filterConversation), sessionId(SCRIPTED_ID), join(Buffer.of(0), text("x")));
  connection.send({ type: REQUEST, service: FILTER_RESPONSE, conversation: 0n, body: oneWay });
  await connection.ask(SYSTEM_PING);
  assert.equal(connection.untaken, 0);
});
