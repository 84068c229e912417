// Rule M-22: the responses to a request to a filter, with acknowledgements and without them.

import assert from "node:assert/strict";
import { test } from "node:test";
import {
  BATCHING,
  FILTER_RESPONSE,
  join,
  REQUEST,
  RESPONSE,
  readFilterOutcome,
  readFilterResponse,
  readSendToFilter,
  SEND_TO_FILTER,
  SEND_TO_PATH,
  sessionId,
  text,
  UNACKNOWLEDGED,
  USER_PING,
  varint,
} from "../../support/wire.mjs";
import { broker } from "../reconnection/support.mjs";
import { collect, filterFor, openAll, unique } from "../support/client.mjs";
import { connectPeer, SCRIPTED_ID } from "../support/endpoint.mjs";
import { ALL, openScripted, peerWith } from "./support.mjs";

test("M-22 the broker delivers results in conversation 0 to who agreed on that, and in ones of their own to others", async (t) => {
  const recipients = [await connectPeer(broker), await peerWith(t, ALL)];
  t.after(() => recipients[0].close());
  const filter = filterFor(...recipients);
  for (const features of [0, BATCHING, UNACKNOWLEDGED, ALL]) {
    const asker = await peerWith(t, features);
    const filterConversation = 5n + BigInt(features);
    const asked = asker.sendToFilter(filter, "p", text("question"), filterConversation);
    for (const recipient of recipients) recipient.respond(await recipient.next({ service: SEND_TO_PATH }), text("yes"));
    assert.deepEqual(readFilterOutcome((await asker.answerTo(asked)).body), { count: 2 });
    const results = [await asker.next({ service: FILTER_RESPONSE }), await asker.next({ service: FILTER_RESPONSE })];
    assert.deepEqual(
      new Set(results.map(({ body }) => readFilterResponse(body).session)),
      new Set(recipients.map(({ id }) => id)),
    );
    assert.ok(results.every(({ body }) => readFilterResponse(body).filterConversation === filterConversation));
    const isOneWay = results.map(({ conversation }) => conversation === 0n);
    assert.deepEqual(isOneWay, Array(2).fill((features & UNACKNOWLEDGED) > 0), `features ${features}`);
    // An acknowledgement does no harm; nor does one to conversation 0.
    for (const result of results) asker.respond(result, Buffer.alloc(0));
    assert.equal((await asker.ask(USER_PING)).type, RESPONSE);
  }
});

test("M-22 errors come in the same way", async (t) => {
  const recipient = await connectPeer(broker);
  const asker = await peerWith(t, UNACKNOWLEDGED);
  for (const expected of [9003, 101]) {
    asker.sendToFilter(filterFor(recipient), "p", text("question"));
    const request = await recipient.next({ service: SEND_TO_PATH });
    if (expected === 9003) recipient.fail(request, 9003, "no");
    else await recipient.close();
    const { conversation, body } = await asker.next({ service: FILTER_RESPONSE });
    assert.deepEqual([conversation, readFilterResponse(body).reason], [0n, expected]);
  }
});

test("M-14 M-22 the client acknowledges each result that has a conversation, and no other", async (t) => {
  for (const features of [undefined, ALL]) {
    const { session, connection } = await openScripted(t, { features });
    const path = unique("filter");
    const gathered = collect(session.messaging.gather("all", path, "question"));
    const asked = await connection.next({ service: SEND_TO_FILTER });
    const { filterConversation } = readSendToFilter(asked.body);
    connection.respond(asked, Buffer.from([0, 4]));
    // Either way of delivering is read, whatever was agreed on.
    for (const [index, conversation] of [0n, 7n, 0n, 8n].entries()) {
      const body = join(varint(filterConversation), sessionId(SCRIPTED_ID), Buffer.from([0]), text(String(index)));
      connection.send({ type: REQUEST, service: FILTER_RESPONSE, conversation, body });
    }
    assert.deepEqual(
      (await gathered).map(({ value }) => value),
      ["0", "1", "2", "3"],
    );
    connection.respond(await pinged(session, connection), Buffer.alloc(0));
    const acknowledged = [];
    for (let message = connection.take(); message; message = connection.take()) {
      acknowledged.push([message.type, message.conversation]);
    }
    assert.deepEqual(acknowledged, [
      [RESPONSE, 7n],
      [RESPONSE, 8n],
    ]);
  }
});

/** The ping of a session that has just been asked for one: behind everything that it sent before. */
function pinged(session, connection) {
  session.ping().catch(() => {});
  return connection.next({ service: USER_PING });
}

test("M-22 gathering from many sessions of ours, with batching and without", async (t) => {
  for (const batching of [true, false]) {
    const [asker, ...answerers] = await openAll(t, broker, 30, { batching });
    const path = unique("gather");
    for (const session of answerers) session.messaging.addStreamHandler(path, () => session.id, { addressed: true });
    const filter = filterFor(...answerers);
    const told = [];
    asker.inspect((message) => told.push(message));
    for (const results of await Promise.all(
      Array.from({ length: 10 }, () => collect(asker.messaging.gather(filter, path, 1))),
    )) {
      assert.deepEqual(results.map(({ value }) => value).toSorted(), answerers.map(({ id }) => id).toSorted());
    }
    await asker.ping();
    const outgoing = told.filter(({ direction, kind }) => direction === "out" && kind === "response");
    assert.deepEqual(outgoing, [], "nothing is acknowledged");
  }
});
