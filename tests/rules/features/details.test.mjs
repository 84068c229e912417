// Rules G-4 and G-5: the details of errors at the client's end, with a server that is scripted, and with our broker.

import assert from "node:assert/strict";
import { test } from "node:test";
import { datatypes, MessagingError, RejectedRequestError } from "antiphon";
import {
  cborText,
  DEADLINES,
  DETAILS,
  ERROR,
  FILTER_RESPONSE,
  join,
  REQUEST,
  readSendToFilter,
  SEND_TO_FILTER,
  SEND_TO_PATH,
  SEND_TO_SESSION,
  sessionId,
  string,
  text,
  varint,
} from "../../support/wire.mjs";
import { broker, cutter, next, soon } from "../reconnection/support.mjs";
import { collect, fails, open, rejection, unique } from "../support/client.mjs";
import { SCRIPTED_ID } from "../support/endpoint.mjs";
import { openScripted } from "./support.mjs";

const KNOWN = { features: DETAILS };
const rejected = { code: "REJECTED_REQUEST", reason: 9003, outcome: "failed", message: "no" };
const NO = cborText("because");

/** Has the client answer addressed requests by throwing what `error` returns; resolves with the error that it sends. */
async function answered({ session, connection }, error) {
  const handler = () => {
    throw error();
  };
  const stream = session.messaging.addStreamHandler("a", handler, { addressed: true });
  const conversation = connection.nextConversation();
  const body = join(string("a"), text("question"));
  connection.send({ type: REQUEST, service: SEND_TO_PATH, conversation, body });
  const answer = await connection.next({ type: ERROR, conversation });
  await stream.close();
  return answer;
}

/** What the console is given as errors from now on. */
function watchConsole(t) {
  const said = [];
  t.mock.method(console, "error", (...what) => said.push(what));
  return said;
}

test("G-4 an error has the details that came with it", async (t) => {
  const { session, connection } = await openScripted(t, KNOWN);
  const { messaging } = session;
  for (const [service, ask] of [
    [SEND_TO_PATH, () => messaging.sendRequestToPath("a", "question")],
    [SEND_TO_SESSION, () => messaging.sendRequestToSession("a", SCRIPTED_ID, "question")],
    [SEND_TO_FILTER, () => messaging.sendRequestToFilter("all", "a", "question")],
  ]) {
    for (const [bytes, details] of [
      [NO, "because"],
      [Buffer.from([0xf6]), null],
      [Buffer.from([0xa1, 0x61, 0x61, 0x81, 0x01]), { a: [1] }],
    ]) {
      const asked = rejection(ask());
      connection.fail(await connection.next({ service }), 9003, "no", { details: bytes });
      assert.deepEqual((await asked).details, details);
      await fails(
        asked.then((error) => Promise.reject(error)),
        rejected,
      );
    }
  }
});

test("G-4 an error of one of many has them too", async (t) => {
  const { session, connection } = await openScripted(t, KNOWN);
  const gathered = collect(session.messaging.gather("all", "a", "question"));
  const asked = await connection.next({ service: SEND_TO_FILTER });
  const { filterConversation } = readSendToFilter(asked.body);
  connection.respond(asked, Buffer.from([0, 2]));
  for (const headers of [{ details: NO }, undefined]) {
    const failure = join(Buffer.from([1]), varint(9003), string("no"));
    const body = join(varint(filterConversation), sessionId(SCRIPTED_ID), failure);
    connection.send({ type: REQUEST, service: FILTER_RESPONSE, conversation: 0n, body, headers });
  }
  const errors = (await gathered).map(({ error }) => error);
  for (const error of errors) await fails(Promise.reject(error), rejected);
  assert.deepEqual(
    errors.map(({ details }) => details),
    ["because", undefined],
  );
});

test("G-4 without them, or where nobody knows of them, or where they cannot be read, there are none", async (t) => {
  for (const [features, details] of [
    [DETAILS, undefined],
    [DETAILS, Buffer.alloc(0)],
    [DETAILS, Buffer.from([0x61])],
    [DETAILS, join(NO, NO)],
    [DEADLINES, NO],
  ]) {
    const { session, connection } = await openScripted(t, { features });
    const asked = rejection(session.messaging.sendRequestToPath("a", "question"));
    connection.fail(await connection.next({ service: SEND_TO_PATH }), 9003, "no", details && { details });
    const error = await asked;
    assert.ok(error instanceof MessagingError);
    assert.equal("details" in error, false);
    assert.equal(session.supports("details"), features === DETAILS);
  }
});

test("G-5 the details of a RejectedRequestError go along with it, and of no other", async (t) => {
  const known = await openScripted(t, KNOWN);
  const plain = await openScripted(t, {});
  for (const [details, bytes] of [
    ["because", NO],
    [null, Buffer.from([0xf6])],
    [datatypes.STRING("because"), NO],
    [undefined, undefined],
  ]) {
    const error = () => new RejectedRequestError("no", { details });
    const { headers, ...answer } = await answered(known, error);
    assert.deepEqual([headers?.details, answer.text, answer.reason], [bytes, "no", 9003]);
    const bare = await answered(plain, error);
    assert.deepEqual([bare.headers, bare.text, bare.reason], [undefined, "no", 9003]);
  }
  // Of another copy of the package.
  const alike = Object.assign(new Error("no"), { name: "RejectedRequestError", details: "because" });
  assert.deepEqual((await answered(known, () => alike)).headers, { details: NO });
  const other = Object.assign(new Error("no"), { details: "secret" });
  const { headers, reason } = await answered(known, () => other);
  assert.deepEqual([headers, reason], [undefined, 105]);
});

test("G-5 what cannot be sent is left out, and shown on the console; the error is not lost", async (t) => {
  const said = watchConsole(t);
  const { session, connection } = await openScripted(t, KNOWN, { log: "error" });
  const cyclic = {};
  cyclic.self = cyclic;
  for (const [details, why] of [
    [{ a: () => {} }, /value\.a .*function/],
    [cyclic, /self/],
    ["x".repeat(65_536), /the details have 65541 bytes, the server takes 65536 at most/],
    [
      {
        get a() {
          throw new Error("no");
        },
      },
      /value\.a threw/,
    ],
  ]) {
    const answer = await answered({ session, connection }, () => new RejectedRequestError("no", { details }));
    assert.deepEqual([answer.headers, answer.text, answer.reason], [undefined, "no", 9003]);
    const [[where, what, error]] = said.splice(0);
    assert.deepEqual([where, what], ["antiphon: the request handler for a failed:", "details"]);
    assert.match(error.message, why);
  }
  const most = "x".repeat(65_536 - 3);
  const { headers } = await answered({ session, connection }, () => new RejectedRequestError("no", { details: most }));
  assert.deepEqual(headers.details, cborText(most));
  const unreadable = Object.defineProperty(new RejectedRequestError("no"), "details", {
    get() {
      throw new Error("never");
    },
  });
  const answer = await answered({ session, connection }, () => unreadable);
  assert.deepEqual([answer.headers, answer.text, answer.reason], [undefined, "no", 9003]);
});

test("G-5 nor what would be too large for the server, which would end the session", async (t) => {
  const end = await openScripted(t, { ...KNOWN, maxMessageSize: 20_000 });
  for (const [length, isSent] of [
    [1000, true],
    [19_990, false],
    [30_000, false],
  ]) {
    const message = "€".repeat(1024);
    const details = "x".repeat(length);
    const answer = await answered(end, () => new RejectedRequestError(message, { details }));
    assert.deepEqual([answer.headers?.details.length > length, answer.text], [isSent, message]);
  }
});

test("G-4 G-5 through our broker, also when the connection was lost before the answer", async (t) => {
  const between = await cutter(t);
  const asker = await open(t, between, { reconnect: soon });
  const handler = await open(t, broker);
  assert.ok(asker.supports("details") && handler.supports("details"));
  const path = unique("details");
  const details = { left: 0, in: ["tea", { ["__proto__"]: 1 }], large: "x".repeat(60_000) };
  let finish;
  await handler.messaging.addRequestHandler(path, async (isSlow) => {
    if (isSlow) {
      await new Promise((resolve) => {
        finish = resolve;
        between.cut();
      });
    }
    throw new RejectedRequestError("no", { details });
  });
  const error = await fails(asker.messaging.sendRequestToPath(path, false), rejected);
  assert.deepEqual(Object.entries(error.details.in[1]), [["__proto__", 1]]);
  assert.equal(error.details.large, details.large);
  const back = next(asker, "reconnect");
  const slow = rejection(asker.messaging.sendRequestToPath(path, true));
  assert.deepEqual(await back, { lossless: true, newSession: false });
  finish();
  assert.equal((await slow).details.large, details.large);
});
