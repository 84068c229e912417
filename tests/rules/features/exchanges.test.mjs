// Rules B-1, B-2 and B-5 to B-7 at the broker's end: time, giving up, and places, between clients that are scripted.

import assert from "node:assert/strict";
import { test } from "node:test";
import {
  BUSY,
  CANCEL,
  CANCELLING,
  cancel,
  DEADLINES,
  DELIVERY,
  ERROR,
  RESPONSE,
  readCancel,
  readDelivery,
  text,
} from "../../support/wire.mjs";
import { unique } from "../support/client.mjs";
import { ALL, peerWith } from "./support.mjs";

/** Two clients with these features: one that asks, one that handles what goes to the path. */
async function pair(t, { asks = ALL, handles = ALL, registration } = {}) {
  const [asker, handler] = [await peerWith(t, asks), await peerWith(t, handles)];
  const path = unique("exchanges");
  await handler.register(path, [], registration);
  return { asker, handler, path };
}

/** The short text of a request that was delivered. */
const contentOf = ({ body }) => readDelivery(body).bytes.subarray(1).toString();

const without = (feature) => ALL & ~feature;

/** Whatever the broker has to say to a client is there when this resolves. */
const allSaid = (peer) => peer.ask(56);

test("B-1 the time that is left goes along, less what has passed, and the broker keeps to it", async (t) => {
  const { asker, handler, path } = await pair(t);
  const sent = asker.sendToPath(path, text("question"), { timeLeft: 300 });
  const request = await handler.next({ service: DELIVERY });
  assert.ok(request.headers.timeLeft > 0 && request.headers.timeLeft <= 300);
  assert.equal((await asker.answerTo(sent)).reason, 102);
  const { request: cancelled, isTimedOut } = readCancel((await handler.next({ service: CANCEL })).body);
  assert.deepEqual([cancelled, isTimedOut], [request.conversation, true]);
  assert.equal((await asker.answerTo(asker.sendToPath(path, text("question"), { timeLeft: 0 }))).reason, 102);
  await allSaid(handler);
  assert.equal(handler.take({ service: DELIVERY }), undefined);
});

test("B-1 whoever does not know of time is told nothing, and nobody else is of a request that says nothing", async (t) => {
  for (const features of [{ handles: without(DEADLINES) }, { handles: 0 }, { asks: without(DEADLINES) }]) {
    const { asker, handler, path } = await pair(t, features);
    asker.sendToPath(path, text("question"), { timeLeft: 60_000 });
    assert.equal((await handler.next({ service: DELIVERY })).headers, undefined);
  }
  const { asker, handler, path } = await pair(t);
  asker.sendToPath(path, text("question"));
  const { headers } = await handler.next({ service: DELIVERY });
  assert.equal(headers, undefined);
});

test("B-2 who gives up hears nothing more, and the handler is told", async (t) => {
  const { asker, handler, path } = await pair(t);
  const sent = asker.sendToPath(path, text("question"));
  const request = await handler.next({ service: DELIVERY });
  asker.send(cancel(sent, false));
  const { request: cancelled, isTimedOut } = readCancel((await handler.next({ service: CANCEL })).body);
  assert.deepEqual([cancelled, isTimedOut], [request.conversation, false]);
  handler.respond(request, text("late"));
  await allSaid(handler);
  await allSaid(asker);
  assert.equal(asker.take({ type: [RESPONSE, ERROR], conversation: sent }), undefined);
});

test("B-2 a session that ends has given everything up", async (t) => {
  const { asker, handler, path } = await pair(t);
  asker.sendToPath(path, text("question"));
  const { conversation } = await handler.next({ service: DELIVERY });
  await asker.close();
  assert.deepEqual(readCancel((await handler.next({ service: CANCEL })).body).request, conversation);
});

test("B-2 a client without the feature gives nothing up, and none is told", async (t) => {
  const { asker, handler, path } = await pair(t, { asks: without(CANCELLING) });
  const sent = asker.sendToPath(path, text("question"));
  const request = await handler.next({ service: DELIVERY });
  asker.send(cancel(sent, false));
  await allSaid(asker);
  handler.respond(request, text("answer"));
  assert.equal((await asker.answerTo(sent)).type, RESPONSE);
  const plain = await pair(t, { handles: 0 });
  const other = plain.asker.sendToPath(plain.path, text("question"));
  await plain.handler.next({ service: DELIVERY });
  plain.asker.send(cancel(other, false));
  await allSaid(plain.asker);
  await allSaid(plain.handler);
  assert.equal(plain.handler.untaken, 0);
});

test("B-5 a handler has as many requests as it takes, and those above are busy", async (t) => {
  const { asker, handler, path } = await pair(t, { registration: { maxConcurrent: 2 } });
  const sent = [1, 2, 3].map((number) => asker.sendToPath(path, text(String(number))));
  assert.equal((await asker.answerTo(sent[2])).reason, 10_001);
  const first = await handler.next({ service: DELIVERY });
  const second = await handler.next({ service: DELIVERY });
  handler.respond(first, text("done"));
  assert.equal((await asker.answerTo(sent[0])).type, RESPONSE);
  asker.send(cancel(sent[1], false));
  assert.equal(readCancel((await handler.next({ service: CANCEL })).body).request, second.conversation);
  for (const number of [4, 5]) {
    asker.sendToPath(path, text(String(number)));
    assert.equal(contentOf(await handler.next({ service: DELIVERY })), String(number));
  }
});

test("B-6 what waits goes in turns of the senders, and the others are told that all are busy", async (t) => {
  const { asker, handler, path } = await pair(t, { registration: { maxConcurrent: 1, maxQueued: 4 } });
  const [other, plain] = [await peerWith(t, without(BUSY)), await peerWith(t, 0)];
  for (const number of [1, 2, 3, 4]) asker.sendToPath(path, text(String(number)));
  await allSaid(asker);
  other.sendToPath(path, text("other"));
  await allSaid(other);
  for (const peer of [other, plain]) {
    assert.equal((await peer.answerTo(peer.sendToPath(path, text("too many")))).reason, 112);
  }
  const order = [];
  for (let number = 0; number < 5; number += 1) {
    const request = await handler.next({ service: DELIVERY });
    await allSaid(handler);
    assert.equal(handler.take({ service: DELIVERY }), undefined, "one at a time");
    order.push(contentOf(request));
    handler.respond(request, text("done"));
  }
  assert.deepEqual(order, ["1", "2", "other", "3", "4"]);
});

test("B-7 what waits is told when nobody is left to handle it", async (t) => {
  const { asker, handler, path } = await pair(t, { registration: { maxConcurrent: 1, maxQueued: 4 } });
  const sent = [1, 2].map((number) => asker.sendToPath(path, text(String(number))));
  await handler.next({ service: DELIVERY });
  await handler.close();
  assert.deepEqual([(await asker.answerTo(sent[0])).reason, (await asker.answerTo(sent[1])).reason], [101, 109]);
});
