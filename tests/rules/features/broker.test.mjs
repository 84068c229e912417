// Rules S-18 and S-19 at the broker's end: batches from and to a client that is scripted.

import assert from "node:assert/strict";
import { test } from "node:test";
import {
  ABORT,
  BATCH,
  BATCHING,
  batch,
  blob,
  DELIVERY,
  ERROR,
  frame,
  join,
  REQUEST,
  RESPONSE,
  readDelivery,
  SEND_TO_PATH,
  string,
  text,
  USER_PING,
  varint,
} from "../../support/wire.mjs";
import { anotherBroker, broker } from "../reconnection/support.mjs";
import { fails, open, unique } from "../support/client.mjs";
import { connectPeer } from "../support/endpoint.mjs";
import { messagesOf, peerWith, sizesOf } from "./support.mjs";

const ping = (conversation) => ({ type: REQUEST, service: USER_PING, conversation });

/** So many pings, with numbers that go on from those of the peer. */
const pings = (peer, count) => Array.from({ length: count }, () => ping(peer.nextConversation()));

const toPath = (peer, path, content) => ({
  type: REQUEST,
  service: SEND_TO_PATH,
  conversation: peer.nextConversation(),
  body: join(string(path), text(content)),
});

/** The short text in a request that was delivered. */
const contentOf = ({ body }) => readDelivery(body).bytes.subarray(1).toString();

/** Resolves when a peer has its answers; returns the conversations in the order in which they were answered. */
async function answered(peer, asked) {
  for (const { conversation } of asked) await peer.answerTo(conversation);
  return messagesOf(peer)
    .filter(({ type }) => type === RESPONSE || type === ERROR)
    .map(({ conversation }) => conversation);
}

test("S-19 messages of a batch are handled in order, as if each had come alone", async (t) => {
  const [peer, handler] = [await peerWith(t, BATCHING), await connectPeer(broker)];
  t.after(() => handler.close());
  const path = unique("batch");
  await handler.register(path);
  const asked = Array.from({ length: 100 }, (_, number) => toPath(peer, path, String(number)));
  const refused = toPath(peer, "", "no path");
  peer.sendBatch(...asked.slice(0, 50), refused, ...asked.slice(50));
  for (const [number, { conversation }] of asked.entries()) {
    const request = await handler.next({ service: DELIVERY });
    assert.equal(contentOf(request), String(number));
    handler.respond(request, text("answer"));
    assert.equal((await peer.answerTo(conversation)).type, RESPONSE);
  }
  assert.equal((await peer.answerTo(refused.conversation)).reason, 202);
});

test("S-18 what waits for a connection at the same time goes out together, in order", async (t) => {
  const peer = await peerWith(t, BATCHING);
  const asked = pings(peer, 1000);
  peer.sendBatch(...asked);
  const order = await answered(peer, asked);
  assert.deepEqual(
    order,
    asked.map(({ conversation }) => conversation),
  );
  assert.ok(peer.frames.length < 500, `${peer.frames.length} WebSocket messages for 1000 messages`);
});

test("S-18 one that is alone goes without a byte more", async (t) => {
  const [peer, plain] = [await peerWith(t, BATCHING), await connectPeer(broker)];
  t.after(() => plain.close());
  for (let number = 0; number < 5; number += 1) {
    await Promise.all([peer, plain].map((one) => one.ask(USER_PING)));
  }
  assert.deepEqual(peer.frames, plain.frames);
});

test("S-18 a message too large for a batch goes alone, and in its place", async (t) => {
  const peer = await peerWith(t, BATCHING);
  const path = unique("large");
  const session = await open(t, broker);
  await session.messaging.addRequestHandler(path, (request) => (request === "large" ? "x".repeat(70_000) : request));
  const contents = ["a", "large", "b", "large", "large", "c"];
  const asked = contents.map((content) => toPath(peer, path, content));
  peer.sendBatch(...asked);
  assert.deepEqual(
    await answered(peer, asked),
    asked.map(({ conversation }) => conversation),
  );
  for (const bytes of peer.frames) {
    assert.ok(bytes.length <= 65_536 || (bytes.length > 70_000 && bytes.length < 70_100 && bytes[0] === RESPONSE));
  }
});

test("S-18 batches of the broker keep to the bounds", async (t) => {
  const peer = await peerWith(t, BATCHING);
  for (let round = 0; round < 4; round += 1) peer.sendBatch(...pings(peer, 1024));
  while (messagesOf(peer).length < 4096) await peer.next();
  assert.ok(Math.max(...sizesOf(peer)) <= 1024);
  assert.ok(peer.frames.every(({ length }) => length <= 65_536));
});

test("S-19 as much as a batch may have is taken", async (t) => {
  const peer = await peerWith(t, BATCHING);
  const many = pings(peer, 1024);
  peer.sendBatch(...many);
  assert.equal((await answered(peer, many)).length, 1024);
  // 65,536 bytes: two messages, of which the second has what is left.
  const path = unique("nobody");
  const first = frame(toPath(peer, path, "first"));
  const conversation = peer.nextConversation();
  const head = join(Buffer.from([REQUEST]), varint(SEND_TO_PATH), varint(conversation), string(path), string("binary"));
  const left = 65_536 - 1 - (first.length + 1) - 3 - head.length - 3;
  const whole = batch(first, join(head, blob(Buffer.alloc(left))));
  assert.equal(whole.length, 65_536);
  peer.send(whole);
  assert.equal((await peer.answerTo(conversation)).reason, 109);
  // Nothing is in it, and nothing comes of it.
  peer.send(Buffer.from([BATCH]));
  assert.equal((await peer.ask(USER_PING)).type, RESPONSE);
});

const hostile = {
  "a batch within a batch": () => batch(batch(ping(1000n))),
  "a message that is cut short": () => batch(ping(1000n)).subarray(0, -1),
  "a length without a message": () => Buffer.from([BATCH, 5]),
  "a length that never ends": () => Buffer.from([BATCH, ...Array(12).fill(0xff)]),
  "a length beyond all bounds": () => join(Buffer.from([BATCH]), varint(2n ** 63n)),
  "an empty message": () => Buffer.from([BATCH, 0]),
  "a message that is none": () => batch(Buffer.from([99])),
  "more than 1,024 messages": () => batch(...Array.from({ length: 1025 }, (_, index) => ping(BigInt(index + 1000)))),
  "more than 65,536 bytes": () =>
    batch(
      ...Array.from({ length: 3 }, (_, index) => ({
        ...ping(BigInt(1000 + index)),
        body: Buffer.alloc(22_000),
      })),
    ),
};

for (const [what, bytes] of Object.entries(hostile)) {
  test(`S-19 ${what} ends the session`, async (t) => {
    const [peer, bystander] = [await peerWith(t, BATCHING), await open(t, broker)];
    const { id } = peer;
    const before = peer.request(USER_PING);
    await peer.answerTo(before);
    peer.send(bytes());
    await peer.closed;
    assert.equal(messagesOf(peer).at(-1).type, ABORT);
    assert.equal(peer.frames.at(-1).length, 1, "an abort goes alone");
    await fails(bystander.messaging.sendRequestToSession("a", id, 1), {
      code: "NO_SUCH_SESSION",
      reason: 107,
      outcome: "refused",
    });
  });
}

test("S-19 what stands before the fault was handled, and what comes behind it is not", async (t) => {
  const [peer, handler] = [await peerWith(t, BATCHING), await connectPeer(broker)];
  t.after(() => handler.close());
  const path = unique("fault");
  await handler.register(path);
  peer.send(batch(toPath(peer, path, "before"), Buffer.from([99]), toPath(peer, path, "behind")));
  await peer.closed;
  await handler.next({ service: DELIVERY });
  await handler.ask(USER_PING);
  assert.equal(handler.take({ service: DELIVERY }), undefined);
});

test("S-19 a batch without the feature ends the session", async (t) => {
  for (const query of [{}, { antiphon: 256 }]) {
    const peer = await connectPeer(broker, { query });
    t.after(() => peer.close());
    peer.sendBatch(ping(1n));
    await peer.closed;
    assert.deepEqual(
      messagesOf(peer).map(({ type }) => type),
      [ABORT],
    );
  }
});

test("S-18 a close request ends a batch as it ends a session", async (t) => {
  const peer = await peerWith(t, BATCHING);
  const asked = pings(peer, 2);
  peer.sendBatch(asked[0], { type: 29 }, asked[1]);
  await peer.closed;
  const answers = messagesOf(peer).filter(({ type }) => type === RESPONSE);
  assert.deepEqual(
    answers.map(({ conversation }) => conversation),
    [asked[0].conversation],
  );
});

test("S-18 a batch is not larger than what a broker takes, however little that is", async (t) => {
  const small = await anotherBroker(t, "--max-message-size", "1500");
  const session = await open(t, small);
  const path = unique("small");
  await session.messaging.addRequestHandler(path, (request) => request);
  const contents = Array.from({ length: 200 }, (_, number) => `${number}`.repeat(number % 300));
  const tooLarge = session.messaging.sendRequestToPath(path, "x".repeat(1600));
  const sent = contents.map((content) => session.messaging.sendRequestToPath(path, content));
  await fails(tooLarge, { code: "MESSAGE_TOO_LARGE", outcome: "not-sent", message: /takes 1500 at most/ });
  assert.deepEqual(await Promise.all(sent), contents);
  assert.equal(session.state, "connected");
  assert.equal(session.supports("batching"), true);
});

test("S-19 a cut within a message of many loses none of it and takes none of it twice", async (t) => {
  const handler = await connectPeer(broker);
  t.after(() => handler.close());
  const path = unique("cut");
  await handler.register(path);
  const peer = await peerWith(t, BATCHING);
  const asked = Array.from({ length: 20 }, (_, number) => frame(toPath(peer, path, String(number))));
  // A frame whose header promises all of it, and half of that.
  const whole = batch(...asked);
  const { _socket: raw } = peer.socket;
  const header = Buffer.from([0x82, 0xfe, whole.length >> 8, whole.length & 0xff, 0, 0, 0, 0]); // masked by zeros
  await new Promise((sent) => raw.write(join(header, whole.subarray(0, whole.length / 2)), sent));
  await peer.cut();
  const again = await connectPeer(broker, { query: { r: 60_000, c: peer.token, cs: 1, ss: 0, antiphon: BATCHING } });
  t.after(() => again.close());
  assert.equal(again.code, 105);
  assert.equal(again.maxMessageSize, 1, "the number of the message that it wants to have next");
  again.sendBatch(...asked);
  for (let number = 0; number < 20; number += 1) {
    assert.equal(contentOf(await handler.next({ service: DELIVERY })), String(number));
  }
  await handler.ask(USER_PING);
  assert.equal(handler.take({ service: DELIVERY }), undefined);
});
