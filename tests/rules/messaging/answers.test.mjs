// Rules M-15 to M-19: time limits, first answers, values, errors, order.

import assert from "node:assert/strict";
import { test } from "node:test";
import { RejectedRequestError } from "antiphon";
import {
  DELIVERY,
  ERROR,
  FILTER_RESPONSE,
  join,
  RESPONSE,
  readDelivery,
  readFilterResponse,
  readSendToPath,
  SEND_TO_PATH,
  text,
  USER_PING,
  value,
} from "../../support/wire.mjs";
import { assertError, collect, fails, filterFor, gate, isSettled, open, openAll, unique } from "../support/client.mjs";
import { broker, impatient, peerAt, unhandled } from "./support.mjs";

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
  await peer.register("patient");
  await fails(asker.messaging.sendRequestToPath("patient", null, { timeout: 20 }), {
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
