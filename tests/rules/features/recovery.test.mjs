// Rule S-20: connections that are lost and replaced, with batching, without it, and from one to the other.

import assert from "node:assert/strict";
import { test } from "node:test";
import {
  BATCHING,
  batch,
  DELIVERY,
  join,
  REQUEST,
  RESPONSE,
  readDelivery,
  readSendToPath,
  SEND_TO_PATH,
  string,
  text,
  USER_PING,
} from "../../support/wire.mjs";
import { assertEachOnce, broker, cutter, loseFor, next, open, soon } from "../reconnection/support.mjs";
import { randomNumbers, seed, unique } from "../support/client.mjs";
import { connectPeer } from "../support/endpoint.mjs";
import { ALL, openScripted, peerWith, sizesOf } from "./support.mjs";

const send = (session, content) => session.messaging.sendRequestToPath("a", content);
const contentOf = ({ body }) => readSendToPath(body).bytes.subarray(1).toString();

async function take(connection, count) {
  const messages = [];
  while (messages.length < count) messages.push(await connection.next());
  return messages;
}

async function cutAndTake(server, number, session) {
  const back = next(session, "reconnect");
  await (await server.connection(number)).cut();
  await back;
  return server.connection(number + 1);
}

test("S-20 the client counts messages, and sends again what was missed as the new connection has agreed", async (t) => {
  const script = [
    { features: ALL },
    { code: 105, recovery: 2 },
    { code: 105, recovery: 3, features: ALL },
    { code: 105, recovery: 4, features: BATCHING },
  ];
  const { server, session, connection } = await openScripted(t, script, { reconnect: soon });
  const sent = ["1", "2", "3", "4", "5"].map((content) => send(session, content));
  const messages = await take(connection, 5);
  assert.deepEqual(sizesOf(connection), [5]);
  // What it gets counts by messages as well: two, and a third in a WebSocket message that is cut short.
  const [first, second] = messages.map((message) => ({
    type: RESPONSE,
    conversation: message.conversation,
    body: text(contentOf(message)),
  }));
  connection.sendBatch(first, second);
  assert.deepEqual(await Promise.all(sent.slice(0, 2)), ["1", "2"]);
  const whole = batch(first, second);
  const { _socket: raw } = connection.socket;
  await new Promise((done) => raw.write(join(Buffer.from([0x82, whole.length]), whole.subarray(0, -3)), done));
  const expected = [
    ["2", "3", "4", "5"],
    ["3", "4", "5"],
    ["4", "5"],
  ];
  for (const [number, contents] of expected.entries()) {
    const again = await cutAndTake(server, number, session);
    assert.deepEqual({ cs: again.query.cs, ss: again.query.ss }, { cs: "1", ss: "2" });
    assert.equal(again.query.antiphon, String(ALL), "offered at each connection");
    assert.deepEqual((await take(again, contents.length)).map(contentOf), contents);
    assert.deepEqual(sizesOf(again), number === 0 ? [1, 1, 1, 1] : [contents.length]);
  }
  const last = await server.connection(3);
  for (const message of messages.slice(2)) {
    last.respond(message, text(contentOf(message)));
  }
  assert.deepEqual(await Promise.all(sent.slice(2)), ["3", "4", "5"]);
});

test("S-20 what was not sent yet when a connection is lost is sent on the next one, once", async (t) => {
  const script = [{ features: ALL }, { code: 105, recovery: 1, features: ALL }];
  const { server, session, connection } = await openScripted(t, script, { reconnect: soon });
  const back = next(session, "reconnect");
  // In one turn: sent, and the connection given up before what is sent together has gone out.
  const lost = next(session, "disconnect");
  connection.socket.terminate();
  await lost;
  const waiting = ["1", "2", "3"].map((content) =>
    session.messaging.sendRequestToPath("a", content, { whenDisconnected: "wait" }),
  );
  await back;
  const again = await server.connection(1);
  const messages = await take(again, 3);
  assert.deepEqual(messages.map(contentOf), ["1", "2", "3"]);
  assert.deepEqual(sizesOf(again), [3]);
  for (const message of messages) again.respond(message, text(contentOf(message)));
  assert.deepEqual(await Promise.all(waiting), ["1", "2", "3"]);
});

test("S-20 after a loss conversations begin anew, in batches or not", async (t) => {
  const script = [{ features: ALL }, { code: 106 }, { code: 106, features: ALL }];
  const { server, session } = await openScripted(t, script, { reconnect: soon });
  for (const [number, sizes] of [[2], [1, 1], [2]].entries()) {
    const connection = await server.connection(number);
    const sent = [send(session, "1"), send(session, "2")];
    for (const message of await take(connection, 2)) connection.respond(message, text(contentOf(message)));
    assert.deepEqual(await Promise.all(sent), ["1", "2"]);
    assert.deepEqual(sizesOf(connection), sizes);
    if (number < 2) await cutAndTake(server, number, session);
  }
});

test("S-20 the broker counts messages, and sends again what was missed as the new connection has agreed", async (t) => {
  const path = unique("missed");
  const asker = await connectPeer(broker);
  t.after(() => asker.close());
  let peer = await peerWith(t, BATCHING);
  await peer.register(path);
  let received = 1;
  let sent = 1;
  let number = 0;
  for (const [offered, ask] of [
    [undefined, 3],
    [BATCHING, 300],
    [undefined, 300],
    [ALL, 2],
  ]) {
    // It asks, the broker delivers into the void or not, and the peer says that it got none of it.
    await peer.cut();
    const asked = Array.from({ length: ask }, () => asker.sendToPath(path, text(String(number++))));
    const query = { r: 60_000, c: peer.token, cs: sent + 1, ss: received, ...(offered && { antiphon: offered }) };
    await asker.ask(USER_PING); // by then they have been routed
    peer = await connectPeer(broker, { query });
    assert.deepEqual([peer.code, peer.maxMessageSize, peer.features], [105, sent + 1, offered]);
    const requests = [];
    while (requests.length < ask) requests.push(await peer.next({ service: DELIVERY }));
    assert.deepEqual(
      requests.map(({ body }) => readDelivery(body).bytes.subarray(1).toString()),
      asked.map((_, index) => String(number - ask + index)),
    );
    received += ask;
    if (offered) {
      if (ask > 100) assert.ok(peer.frames.length < ask / 2, `${peer.frames.length} WebSocket messages`);
      peer.sendBatch(...requests.map(({ conversation }) => ({ type: RESPONSE, conversation, body: text("answer") })));
    } else {
      assert.deepEqual(new Set(sizesOf(peer)), new Set([1]));
      for (const request of requests) peer.respond(request, text("answer"));
    }
    sent += ask;
    for (const conversation of asked) assert.equal((await asker.answerTo(conversation)).type, RESPONSE);
  }
  await peer.close();
});

test("S-20 what comes twice after a reconnection is handled once, whichever way it comes", async (t) => {
  const path = unique("twice");
  const handler = await connectPeer(broker);
  t.after(() => handler.close());
  await handler.register(path);
  const peer = await peerWith(t, BATCHING);
  const asked = ["1", "2", "3"].map((content) => ({
    type: REQUEST,
    service: SEND_TO_PATH,
    conversation: peer.nextConversation(),
    body: join(string(path), text(content)),
  }));
  await peer.cut();
  const again = await connectPeer(broker, { query: { r: 60_000, c: peer.token, cs: 1, ss: 0, antiphon: BATCHING } });
  t.after(() => again.close());
  assert.equal(again.code, 105);
  again.sendBatch(...asked, asked[1]);
  again.send(asked[0]);
  again.sendBatch(asked[2], asked[2]);
  for (const _ of asked) handler.respond(await handler.next({ service: DELIVERY }), text("answer"));
  for (const { conversation } of asked) assert.equal((await again.answerTo(conversation)).type, RESPONSE);
  await again.ask(USER_PING);
  await handler.ask(USER_PING);
  assert.equal(handler.take({ service: DELIVERY }), undefined);
});

test("S-20 cuts at random moments lose nothing of what is sent together, and deliver nothing twice", async (t) => {
  const start = seed();
  t.diagnostic(`ANTIPHON_SEED=${start}`);
  const random = randomNumbers(start);
  const [near, far] = [await cutter(t), await cutter(t)];
  const [asker, answerer] = [await open(t, near), await open(t, far)];
  const path = unique("together");
  const asked = [];
  await answerer.messaging.addRequestHandler(path, (number) => {
    asked.push(number);
    return number;
  });
  const sends = [];
  // No more in all than may wait for a session without a connection: 512 (limits.md). Each end keeps more to send again.
  for (let round = 0; round < 40; round += 1) {
    for (let count = Math.floor(random() * 13); count > 0; count -= 1) {
      const number = sends.length;
      sends.push(asker.messaging.sendRequestToPath(path, number, { whenDisconnected: "wait" }));
    }
    if (random() < 0.2) near.cut();
    if (random() < 0.2) far.cut();
    if (random() < 0.7) await new Promise(setImmediate);
  }
  assertEachOnce(await Promise.all(sends), asked);
});

test("S-20 answers that were given together while there was no connection arrive", async (t) => {
  const between = await cutter(t);
  const [asker, answerer] = [await open(t, broker), await open(t, between)];
  const path = unique("meanwhile");
  const waiting = [];
  let all;
  const allHere = new Promise((resolve) => {
    all = resolve;
  });
  await answerer.messaging.addRequestHandler(
    path,
    (request) =>
      new Promise((answer) => {
        waiting.push(() => answer(request));
        if (waiting.length === 20) all();
      }),
  );
  const sent = Array.from({ length: 20 }, (_, number) => asker.messaging.sendRequestToPath(path, number));
  await allHere;
  await loseFor(between, answerer);
  for (const answer of waiting) answer();
  between.open();
  assert.deepEqual(
    await Promise.all(sent),
    sent.map((_, number) => number),
  );
});
