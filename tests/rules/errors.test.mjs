// Rules E-1 and E-2 of errors: every reason has its name and its outcome, whatever says it and whoever was asked.

import assert from "node:assert/strict";
import { after, test } from "node:test";
import { ConnectError, connect, InvalidFilterError, MessagingError, RejectedRequestError } from "antiphon";
import { startBroker } from "../support/broker.mjs";
import {
  DELIVERY,
  FILTER_RESPONSE,
  join,
  readSendToFilter,
  SEND_TO_FILTER,
  SEND_TO_PATH,
  sessionId,
  string,
  USER_PING,
  varint,
} from "../support/wire.mjs";
import { assertError, collect, fails, open, options, rejection, thrown, unique } from "./support/client.mjs";
import { connectPeer, SCRIPTED_ID, startServer } from "./support/endpoint.mjs";

/** The reasons of protocol.md 5.2, with the outcomes of the table of the public surface; and some that nobody knows. */
const REASONS = [
  [100, "COMMUNICATION_FAILURE", "unknown"],
  [101, "SESSION_CLOSED", "unknown"],
  [102, "REQUEST_TIME_OUT", "unknown"],
  [103, "ACCESS_DENIED", "refused"],
  [104, "UNSUPPORTED", "refused"],
  [105, "CALLBACK_EXCEPTION", "failed"],
  [106, "INVALID_DATA", "unknown"],
  [107, "NO_SUCH_SESSION", "refused"],
  [108, "INCOMPATIBLE_DATATYPE", "refused"],
  [109, "UNHANDLED_MESSAGE", "refused"],
  [110, "CLUSTER_REPARTITION", "refused"],
  [111, "INCOMPATIBLE_STATE", "unknown"],
  [112, "CLUSTER_ROUTING", "refused"],
  [200, "TOPIC_TREE_REGISTRATION_CONFLICT", "unknown"],
  [201, "HANDLER_CONFLICT", "refused"],
  [202, "INVALID_PATH", "refused"],
  [9003, "REJECTED_REQUEST", "failed"],
  [0, "REASON_0", "unknown"],
  [1, "REASON_1", "unknown"],
  [99, "REASON_99", "unknown"],
  [113, "REASON_113", "unknown"],
  [9002, "REASON_9002", "unknown"],
  [2147483647, "REASON_2147483647", "unknown"],
];

/** A server that answers every request with one reason; a filter matches one session, which then has that reason. */
let reason = 0;
let description = "";
const server = await startServer((message, connection) => {
  if (message.service !== SEND_TO_FILTER || readSendToFilter(message.body).filter === "refused") {
    if (message.service !== undefined) connection.fail(message, reason, description);
    return;
  }
  const { filterConversation } = readSendToFilter(message.body);
  connection.respond(message, Buffer.of(0, 1));
  const outcome = join(Buffer.of(1), varint(reason), string(description));
  connection.request(FILTER_RESPONSE, join(varint(filterConversation), sessionId(SCRIPTED_ID), outcome));
});
const broker = await startBroker();
after(() => Promise.all([server.stop(), broker.stop()]));

const session = await open({ after }, server);

/** What every operation makes of an answer with this reason. */
async function everyError() {
  const { messaging } = session;
  const [{ error }] = await collect(messaging.gather("all", "a", 1));
  return [
    error,
    await rejection(messaging.sendRequestToPath("a", 1)),
    await rejection(messaging.sendRequestToSession("a", SCRIPTED_ID, 1)),
    await rejection(messaging.sendRequestToFilter("refused", "a", 1)),
    await rejection(messaging.gather("refused", "a", 1).expected),
    await rejection(messaging.gather("refused", "a", 1)[Symbol.asyncIterator]().next()),
    await rejection(messaging.addRequestHandler("a", () => 1)),
    await rejection(messaging.services.MESSAGING_SEND.invoke(new Uint8Array())),
    await rejection(session.ping()),
    await rejection(session.getProperties()),
    await rejection(session.changePrincipal("admin", "password")),
  ];
}

for (const [number, code, outcome] of REASONS) {
  test(`E-1 reason ${number} is ${code} with outcome ${outcome}, and its text is carried through`, async () => {
    for (const said of ["what the other side said", ""]) {
      [reason, description] = [number, said];
      for (const error of await everyError()) {
        assertError(error, { code, reason: number, outcome });
        assert.equal(error.name, "MessagingError");
        if (said) assert.equal(error.message, said);
        else assert.match(error.message, new RegExp(`${number}|${code}`));
      }
    }
  });

  test(`E-1 reason ${number} passes through the broker, by every address`, async (t) => {
    const [asker, peer] = [await open(t, broker), await connectPeer(broker)];
    t.after(() => peer.close());
    const path = unique("reason");
    await peer.register(path);
    const sends = [
      [DELIVERY, () => asker.messaging.sendRequestToPath(path, 1)],
      [SEND_TO_PATH, () => asker.messaging.sendRequestToSession(path, peer.id, 1)],
      [
        SEND_TO_PATH,
        async () => {
          const [{ error }] = await collect(asker.messaging.gather(`$SessionId is '${peer.id}'`, path, 1));
          throw error;
        },
      ],
    ];
    for (const [service, send] of sends) {
      const sent = fails(send(), { code, reason: number, outcome, message: "said" });
      peer.fail(await peer.next({ service }), number, "said");
      await sent;
    }
  });
}

test("E-2 errors are Errors with a name, and nothing in them can be enumerated but what is documented", async () => {
  [reason, description] = [109, "nobody"];
  const error = await rejection(session.messaging.sendRequestToPath("a", 1));
  assert.ok(error instanceof MessagingError && error instanceof Error);
  assert.deepEqual(Object.keys(error).sort(), ["code", "outcome", "reason"]);
  assert.equal(String(error), "MessagingError: nobody");
  assert.ok(!("reason" in (await rejection(session.messaging.sendRequestToSession("a", "bad", 1)))));
});

test("E-2 the stack of an error shows the line that called", async () => {
  [reason, description] = [109, "nobody"];
  const calls = {
    sendRequestToPath: () => session.messaging.sendRequestToPath("a", 1),
    sendRequestToSession: () => session.messaging.sendRequestToSession("a", SCRIPTED_ID, 1),
    sendRequestToFilter: () => session.messaging.sendRequestToFilter("refused", "a", 1),
    addRequestHandler: () => session.messaging.addRequestHandler("a", () => 1),
    ping: () => session.ping(),
    getProperties: () => session.getProperties(),
    changePrincipal: () => session.changePrincipal("admin"),
  };
  for (const [what, call] of Object.entries(calls)) {
    const { stack } = await rejection(call());
    assert.ok(stack.includes("errors.test.mjs"), `${what}\n${stack}`);
  }
});

test("E-2 the stack of an error of a gathering or of a service shows the line that called", async () => {
  [reason, description] = [109, "nobody"];
  const calls = {
    invoke: () => session.messaging.services.MESSAGING_SEND.invoke(new Uint8Array()),
    gather: () => session.messaging.gather("refused", "a", 1).expected,
  };
  for (const [what, call] of Object.entries(calls)) {
    const { stack } = await rejection(call());
    assert.ok(stack.includes("errors.test.mjs"), `${what}\n${stack}`);
  }
});

test("E-2 the stack of an error in place of one session's response shows the line that called", async () => {
  [reason, description] = [109, "nobody"];
  const [{ error }] = await collect(session.messaging.gather("all", "a", 1));
  assert.ok(error.stack.includes("errors.test.mjs"), error.stack);
});

test("E-2 the stack of an error of an argument shows the line that called", async () => {
  const calls = {
    path: () => session.messaging.sendRequestToPath(7, 1),
    session: () => session.messaging.sendRequestToSession("a", "no session", 1),
    filter: () => session.messaging.sendRequestToFilter(7, "a", 1),
    value: () => session.messaging.sendRequestToPath("a", () => 1),
    option: () => session.messaging.sendRequestToPath("a", 1, { timeout: -1 }),
    handler: () => session.messaging.addRequestHandler("a", 7),
  };
  const hidden = [];
  for (const [what, call] of Object.entries(calls)) {
    const { stack } = await rejection(call());
    if (!stack.includes("errors.test.mjs")) hidden.push(what);
  }
  assert.deepEqual(hidden, []);
});

test("E-2 what our own checks refuse is refused as such, after the end of the session as well", async (t) => {
  const quiet = await startServer();
  t.after(() => quiet.stop());
  const session = await open(t, quiet);
  await session.close();
  for (const call of [
    session.messaging.sendRequestToPath(7, 1),
    session.messaging.addRequestHandler("a", 7),
    session.services.USER_PING.invoke(7),
    session.getProperties(7),
    session.changePrincipal(7),
    session.changePrincipal("a", 7),
  ]) {
    await fails(call, { code: "INVALID_ARGUMENT", outcome: "not-sent" });
  }
});

test("E-2 what our own checks refuse was not sent", async (t) => {
  const quiet = await startServer();
  t.after(() => quiet.stop());
  const { messaging } = await open(t, quiet);
  const invalid = { code: "INVALID_ARGUMENT", outcome: "not-sent" };
  for (const bad of [undefined, null, 7, {}, [], Symbol("x"), "\ud800"]) {
    await fails(messaging.sendRequestToPath(bad, 1), invalid);
    await fails(messaging.sendRequestToSession(bad, SCRIPTED_ID, 1), invalid);
    await fails(messaging.sendRequestToSession("a", bad, 1), invalid);
    await fails(messaging.sendRequestToFilter(bad, "a", 1), invalid);
    await fails(messaging.sendRequestToFilter("all", bad, 1), invalid);
    await fails(messaging.gather(bad, "a", 1).expected, invalid);
    await fails(
      messaging.addRequestHandler(bad, () => 1),
      invalid,
    );
    assertError(
      thrown(() => messaging.addStreamHandler(bad, () => 1)),
      invalid,
    );
    assertError(
      thrown(() => messaging.addFilterResponseHandler(bad, () => {})),
      invalid,
    );
    if (bad === undefined || bad === null) continue;
    if (bad !== 7) await fails(messaging.sendRequestToPath("a", 1, { timeout: bad }), invalid);
    await fails(messaging.sendRequestToPath("a", 1, { whenDisconnected: bad }), invalid);
    await fails(messaging.sendRequestToPath("a", 1, { signal: bad }), invalid);
    await fails(messaging.sendRequestToFilter("all", "a", 1, { onResponse: bad }), invalid);
    if (bad !== 7) await fails(messaging.gather("all", "a", 1, { atLeast: bad }).expected, invalid);
  }
  await fails(
    messaging.sendRequestToPath("a", () => 1),
    { code: "INVALID_DATA", outcome: "not-sent" },
  );
  assert.equal(quiet.connections[0].take(), undefined);
});

test("E-2 a response that does not have its layout failed, and the session goes on", async (t) => {
  const malformed = await startServer((message, connection) => {
    if (message.service === USER_PING) connection.respond(message);
    else connection.respond(message, Buffer.from("c0ffee", "hex"));
  });
  t.after(() => malformed.stop());
  const { messaging } = await open(t, malformed);
  const failed = { code: "INVALID_DATA", outcome: "failed" };
  await fails(messaging.sendRequestToPath("a", 1), failed);
  await fails(messaging.sendRequestToSession("a", SCRIPTED_ID, 1), failed);
  await fails(messaging.sendRequestToFilter("all", "a", 1), failed);
  await fails(messaging.gather("all", "a", 1)[Symbol.asyncIterator]().next(), failed);
  assert.equal((await messaging.services.USER_PING.invoke(new Uint8Array())).length, 0);
});

test("E-2 every class of error can be told apart, and the names are stable", async () => {
  const connecting = await rejection(connect("ftp://x", options));
  assert.ok(connecting instanceof ConnectError && !(connecting instanceof MessagingError));
  assert.deepEqual([connecting.name, connecting.code, connecting.retryable], ["ConnectError", "INVALID_URL", false]);
  const rejected = new RejectedRequestError("no");
  assert.deepEqual([rejected.name, rejected.message], ["RejectedRequestError", "no"]);
  assert.ok(rejected instanceof Error && !(rejected instanceof MessagingError));
  assert.ok(InvalidFilterError.prototype instanceof MessagingError);
});
