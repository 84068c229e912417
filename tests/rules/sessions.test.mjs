// Rules S-1 to S-11 and L-1 to L-4 of sessions and connections: what an application and a wire peer see of them.
// What becomes of a session without a connection is in reconnection/.

import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer, Socket } from "node:net";
import { after, test } from "node:test";
import { ConnectError, connect } from "antiphon";
import { startBroker } from "../support/broker.mjs";
import {
  ABORT,
  REQUEST,
  RESPONSE,
  readConnectionResponse,
  readSendToPath,
  SEND_TO_PATH,
  SYSTEM_PING,
  text,
  USER_PING,
} from "../support/wire.mjs";
import { assertError, collect, fails, isSettled, open, options, rejection, thrown, unique } from "./support/client.mjs";
import { connectPeer, SCRIPTED_ID, startServer } from "./support/endpoint.mjs";

const broker = await startBroker(["--log", "trace"]);
after(() => broker.stop());

/** A scripted server that is stopped when the test is over. */
async function scripted(t, serve, response) {
  const server = await startServer(serve, response);
  t.after(() => server.stop());
  return server;
}

const closedSession = { code: "SESSION_CLOSED", outcome: "not-sent" };

// ---- S-1: session IDs ----

test("S-1 a session ID is 16 lower-case hexadecimal digits, a hyphen, and 16 more", async (t) => {
  const session = await open(t, broker);
  assert.match(session.id, /^[0-9a-f]{16}-[0-9a-f]{16}$/);
  assert.equal((await session.getProperties(["$SessionId"])).$SessionId, session.id);
  const { id } = await open(t, await scripted(t));
  assert.equal(id, SCRIPTED_ID);
});

test("S-1 shorter halves and capitals name the same session", async (t) => {
  const session = await open(t, broker);
  session.messaging.addStreamHandler("id", () => "here", { addressed: true });
  const short = session.id.replace(/\b0+(?=.)/g, "");
  for (const id of [session.id, session.id.toUpperCase(), short, short.toUpperCase()]) {
    assert.equal(await session.messaging.sendRequestToSession("id", id, null), "here", id);
  }
});

test("S-1 what is no session ID is refused before anything is sent", async (t) => {
  const session = await open(t, broker);
  const bad = [
    "",
    "-",
    "1",
    "1-",
    "-1",
    "1-2-3",
    "1--2",
    " 1-2",
    "1-2 ",
    "+1-2",
    "0x1-2",
    "g-1",
    "1-٣",
    `${"0".repeat(17)}-1`,
  ];
  for (const id of bad) {
    const sent = session.messaging.sendRequestToSession("id", id, null);
    await fails(sent, { code: "INVALID_ARGUMENT", outcome: "not-sent" });
  }
});

// ---- S-2: the session token ----

test("S-2 the session token is shown by nothing that an application or an operator sees", async (t) => {
  const tokens = [];
  class Watched extends options.webSocket {
    constructor(...args) {
      super(...args);
      this.once("message", (bytes) => tokens.push(readConnectionResponse(Buffer.from(bytes)).token));
    }
  }
  const lines = [];
  const levels = ["log", "debug", "info", "warn", "error"];
  for (const level of levels) t.mock.method(console, level, (...args) => lines.push(args.map(String).join(" ")));
  const session = await open(t, broker, { webSocket: Watched, log: "trace" });
  const properties = await session.getProperties();
  await session.messaging.addRequestHandler("token", (_, context) => context.sessionProperties, {
    sessionProperties: ["*F", "*U"],
  });
  const told = await session.messaging.sendRequestToPath("token", null);
  const error = await rejection(session.messaging.sendRequestToPath("nobody", null));
  await session.close();
  const [token] = tokens;
  assert.match(token, /^[A-Za-z0-9+/]{24}$/);
  const members = [session, session.messaging, await session.closed].flatMap((object) => {
    const names = [...Object.getOwnPropertyNames(object), ...Object.getOwnPropertyNames(Object.getPrototypeOf(object))];
    return names.map((name) => String(object[name]));
  });
  const seen = [broker.log(), ...lines, ...members, error.stack, JSON.stringify([properties, told])].join("\n");
  assert.ok(!seen.includes(token));
});

test("S-2 every session has a token of its own", async (t) => {
  const peers = await Promise.all(Array.from({ length: 20 }, () => connectPeer(broker)));
  t.after(() => Promise.all(peers.map((peer) => peer.close())));
  assert.equal(new Set(peers.map(({ token }) => token)).size, 20);
});

// ---- S-3: closed sessions ----

test("S-3 a closed session stays closed", async () => {
  const session = await connect(broker.url, options);
  const { id } = session;
  await session.close();
  assert.equal(session.state, "closed");
  const { code, byClient } = await session.closed;
  assert.deepEqual([code, byClient], ["CLOSED_BY_CLIENT", true]);
  const { messaging } = session;
  const calls = [
    messaging.sendRequestToPath("a", 1),
    messaging.sendRequestToPath("a", 1, { whenDisconnected: "wait" }),
    messaging.sendRequestToSession("a", id, 1),
    messaging.sendRequestToFilter("all", "a", 1),
    messaging.addRequestHandler("a", () => 1),
    messaging.gather("all", "a", 1).expected,
    messaging.services.USER_PING.invoke(new Uint8Array()),
    session.ping(),
    session.getProperties(),
    session.changePrincipal("admin", "password"),
  ];
  for (const call of calls) await fails(call, closedSession);
  for (const call of [
    () => messaging.addStreamHandler("a", () => 1),
    () => messaging.addFilterResponseHandler("all", () => {}),
  ]) {
    assertError(thrown(call), closedSession);
  }
  await session.close();
  assert.equal(session.state, "closed");
});

test("S-3 the token of a closed session opens nothing", async () => {
  const peer = await connectPeer(broker, { query: { r: 60_000 } });
  await peer.close();
  const { code } = await connectPeer(broker, { query: { c: peer.token, cs: 1, ss: 0 } });
  assert.equal(code, 117);
});

// ---- S-4: connecting in vain ----

async function connectFails(url, code, retryable, given = {}) {
  const error = await rejection(connect(url, { ...options, ...given }));
  assert.ok(error instanceof ConnectError, error.stack);
  assert.deepEqual([error.code, error.retryable], [code, retryable], error.message);
}

for (const [code, name, retryable, what] of [
  [116, "ACCESS_DENIED", false, "authentication failed"],
  [113, "LICENSE_EXCEEDED", false, "licence exceeded"],
  [102, "PROTOCOL_VERSION_MISMATCH", false, "downgrade required"],
  [119, "SERVER_INITIALISING", true, "server initialising"],
  [111, "HANDSHAKE_REJECTED", false, "rejected"],
  [114, "HANDSHAKE_REJECTED", false, "reconnection unsupported"],
  [115, "HANDSHAKE_REJECTED", false, "protocol error"],
  [117, "HANDSHAKE_REJECTED", false, "unknown session"],
  [118, "HANDSHAKE_REJECTED", false, "reconnection failed"],
]) {
  test(`S-4 connection response ${code} (${what}) is ${name}`, async (t) => {
    await connectFails((await scripted(t, undefined, { code })).url, name, retryable);
  });
}

test("S-4 a malformed connection response is HANDSHAKE_ERROR", async (t) => {
  const malformed = ["", "23", "2319", "2419 64", "231964", "231979", `231964${"00".repeat(51)}`, "c0ffee"];
  for (const hex of malformed) {
    const server = await scripted(t, undefined, Buffer.from(hex.replace(" ", ""), "hex"));
    await connectFails(server.url, "HANDSHAKE_ERROR", false);
  }
});

test("S-4 a version that this client does not speak is PROTOCOL_VERSION_MISMATCH", async (t) => {
  for (const version of [0, 21, 30, 255]) {
    await connectFails((await scripted(t, undefined, { version })).url, "PROTOCOL_VERSION_MISMATCH", false);
  }
});

test("S-4 no connection response in time is CONNECTION_TIMEOUT", async (t) => {
  const { url } = await scripted(t, undefined, null);
  await connectFails(url, "CONNECTION_TIMEOUT", true, { connectTimeout: 50 });
});

test("S-4 where nobody listens it is CONNECTION_ERROR", async () => {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address();
  server.close();
  await once(server, "close");
  await connectFails(`ws://127.0.0.1:${port}`, "CONNECTION_ERROR", true);
});

test("S-4 a server that refuses the WebSocket is CONNECTION_ERROR", async () => {
  await connectFails(`${broker.url}/nowhere`, "CONNECTION_ERROR", true);
});

test("S-4 a connection that breaks before the connection response is TRANSPORT_ERROR", async (t) => {
  const server = await scripted(t, undefined, null);
  const connecting = connectFails(server.url, "TRANSPORT_ERROR", true);
  while (server.connections.length === 0) await new Promise(setImmediate);
  server.connections[0].cut();
  await connecting;
});

test("S-4 a wrong password, none, and an unknown principal are ACCESS_DENIED, all with the same text", async () => {
  const texts = new Set();
  for (const given of [
    { principal: "admin", credentials: "wrong" },
    { principal: "admin", credentials: "" },
    { principal: "admin" },
    { principal: "admin", credentials: new TextEncoder().encode("password") },
    { principal: "Admin", credentials: "password" },
    { principal: "nobody", credentials: "password" },
  ]) {
    const error = await rejection(connect(broker.url, { ...options, ...given }));
    assert.deepEqual([error.code, error.retryable], ["ACCESS_DENIED", false]);
    texts.add(error.message);
  }
  assert.equal(texts.size, 1);
});

// ---- S-8: no connection ----

test("S-8 while there is a connection it makes no difference what would happen without one", async (t) => {
  const session = await open(t, broker);
  const path = unique("connected");
  await session.messaging.addRequestHandler(path, (request) => request);
  for (const whenDisconnected of ["fail", "wait", undefined, null]) {
    assert.equal(await session.messaging.sendRequestToPath(path, "sent", { whenDisconnected }), "sent");
  }
});

test("S-8 a send after the connection was lost fails at once, and nothing is sent", async (t) => {
  const server = await scripted(t);
  const session = await open(t, server);
  const sends = [];
  session.on("disconnect", () => {
    for (const whenDisconnected of ["fail", "wait"]) {
      sends.push(session.messaging.sendRequestToPath("late", 1, { whenDisconnected }));
    }
  });
  await server.connections[0].cut();
  await session.closed;
  assert.equal(sends.length, 2);
  for (const sent of sends) {
    assert.ok(await isSettled(sent.catch(() => {})));
    await fails(sent, closedSession);
  }
  assert.equal(server.connections[0].take(), undefined);
});

// ---- S-9: whatever is outstanding rejects with an Error ----

const outstanding = (session) => [
  session.messaging.sendRequestToPath("a", 1),
  session.messaging.sendRequestToSession("a", session.id, 1),
  session.messaging.sendRequestToFilter("all", "a", 1),
  session.messaging.gather("all", "a", 1).expected,
  session.messaging.gather("all", "a", 1)[Symbol.asyncIterator]().next(),
  session.messaging.addRequestHandler("a", () => 1),
  session.messaging.services.USER_PING.invoke(new Uint8Array()),
  session.ping(),
  session.getProperties(),
  session.changePrincipal("admin", "password"),
];

for (const [what, end, code, closed] of [
  ["close() was called", (session) => session.close(), "SESSION_CLOSED", "CLOSED_BY_CLIENT"],
  ["the server aborted the session", (_, server) => server.send({ type: ABORT }), "SESSION_CLOSED", "CLOSED_BY_SERVER"],
  ["the connection was lost", (_, server) => server.cut(), "CONNECTION_LOST", "CONNECTION_ERROR"],
  ["the server broke the protocol", (_, server) => server.send(Buffer.of(99)), "CONNECTION_LOST", "TRANSPORT_ERROR"],
]) {
  test(`S-9 everything outstanding rejects with an Error when ${what}`, async (t) => {
    const server = await scripted(t);
    const session = await open(t, server);
    const waiting = outstanding(session);
    await server.connections[0].next({ type: REQUEST });
    end(session, server.connections[0]);
    for (const promise of waiting) await fails(promise, { code, outcome: "unknown" });
    assert.equal((await session.closed).code, closed);
    assert.equal(session.state, "closed");
  });
}

test("S-9 everything outstanding rejects with an Error when the broker is stopped", async (t) => {
  const stopping = await startBroker(["--drain", "0s"]);
  const session = await open(t, stopping);
  await session.messaging.addRequestHandler("never", () => new Promise(() => {}));
  const sent = session.messaging.sendRequestToPath("never", 1);
  assert.equal(await isSettled(sent.catch(() => {})), false);
  assert.equal(await stopping.stop(), 0);
  await fails(sent, { code: "CONNECTION_LOST", outcome: "unknown" });
  assert.equal((await session.closed).code, "CONNECTION_ERROR");
});

// ---- S-11: the end of a session that was connected ----

test("S-11 when a session closes its registrations vanish, and what it had not answered fails at once", async (t) => {
  const asker = await open(t, broker);
  const above = await open(t, broker);
  const path = unique("vanish");
  await above.messaging.addRequestHandler(path, () => "above");
  for (const leave of [(peer) => peer.close(), (peer) => peer.cut()]) {
    const peer = await connectPeer(broker);
    await peer.register(`${path}/a`);
    await peer.register(`${path}/b`);
    const sends = [
      asker.messaging.sendRequestToPath(`${path}/a`, 1),
      asker.messaging.sendRequestToPath(`${path}/b`, 1),
      asker.messaging.sendRequestToSession(path, peer.id, 1),
    ];
    const failing = Promise.all(sends.map(rejection));
    for (const _ of sends) await peer.next({ type: REQUEST });
    const start = performance.now();
    leave(peer);
    for (const error of await failing) assertError(error, { code: "SESSION_CLOSED", reason: 101, outcome: "unknown" });
    assert.ok(performance.now() - start < 1000);
    assert.equal(await asker.messaging.sendRequestToPath(`${path}/a`, 1), "above");
    assert.equal(await asker.messaging.sendRequestToFilter(`$SessionId is '${peer.id}'`, path, 1), 0);
    await fails(asker.messaging.sendRequestToSession(path, peer.id, 1), {
      code: "NO_SUCH_SESSION",
      reason: 107,
      outcome: "refused",
    });
  }
});

// ---- L-1, L-2, L-4: pings and sizes ----

test("L-1 every session is pinged each period, whatever else goes on", async (t) => {
  const pinging = await startBroker(["--ping-period", "300ms"]);
  t.after(() => pinging.stop());
  const start = performance.now(); // before the broker begins to count
  const peer = await connectPeer(pinging, { answersPings: false });
  assert.equal(peer.pingPeriod, 300n);
  for (let pings = 0; pings < 3; ) {
    // Traffic all the time: each answer leads to the next request.
    await peer.ask(USER_PING);
    for (let ping = peer.take({ service: SYSTEM_PING }); ping; ping = peer.take({ service: SYSTEM_PING })) {
      assert.equal(ping.body.length, 0);
      assert.notEqual(ping.conversation, 0n);
      peer.respond(ping);
      pings += 1;
    }
  }
  const elapsed = performance.now() - start;
  assert.ok(elapsed > 850, `3 pings within ${elapsed} ms`);
  await peer.close();
});

test("L-1 a session that answers its pings and does nothing else stays, one that falls silent is ended", async (t) => {
  const pinging = await startBroker(["--ping-period", "300ms"]);
  t.after(() => pinging.stop());
  const [lively, silent] = [await open(t, pinging), await connectPeer(pinging, { answersPings: false })];
  await silent.closed;
  assert.equal(lively.state, "connected");
  assert.ok((await lively.ping()) >= 0);
});

test("L-2 WebSocket pings are answered with what they carried", async () => {
  const peer = await connectPeer(broker);
  for (const data of ["", "anything", "x".repeat(125)]) {
    const answered = once(peer.socket, "pong");
    peer.socket.ping(data);
    assert.equal(String((await answered)[0]), data);
  }
  await peer.close();
});

/** A WebSocket that is opened by hand, to send frames that no library would. */
async function rawSocket({ port, url }) {
  const socket = new Socket();
  socket.connect(port, "127.0.0.1");
  const key = Buffer.alloc(16).toString("base64");
  socket.write(
    `GET ${new URL(url).pathname}?ty=WB&v=25&ca=8&r=0&sp=%7B%7D HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\n` +
      "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n" +
      `Sec-WebSocket-Key: ${key}\r\n\r\n`,
  );
  for (let seen = Buffer.alloc(0); !seen.includes("\r\n\r\n") || seen.length < 180; ) {
    seen = Buffer.concat([seen, (await once(socket, "data"))[0]]);
  }
  return socket;
}

for (const [what, size] of [
  ["just over the limit", 2049n],
  ["of 8 EiB", 2n ** 63n - 1n],
]) {
  test(`L-4 a message ${what} is refused by its head, without waiting for the rest`, async (t) => {
    const small = await startBroker(["--max-message-size", "2KiB"]);
    t.after(() => small.stop());
    const socket = await rawSocket(small);
    const head = Buffer.from([0x82, 0xff, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]); // binary, masked, 64-bit length
    head.writeBigUInt64BE(size, 2);
    socket.on("error", () => {}).resume();
    socket.write(head);
    await once(socket, "close");
    assert.ok((await (await open(t, small)).ping()) >= 0);
  });
}

test("L-4 a message as large as allowed arrives, a larger one ends the session of its sender alone", async (t) => {
  const small = await startBroker(["--max-message-size", "2KiB"]);
  t.after(() => small.stop());
  const other = await open(t, small);
  const path = unique("size");
  await other.messaging.addRequestHandler(path, (bytes) => bytes.length);
  const peer = await connectPeer(small);
  assert.equal(peer.maxMessageSize, 2048);
  const head = 1 + 1 + 1 + 1 + path.length + 7 + 2; // type, service, conversation, path, "binary", length
  const send = (length) => peer.sendToPath(path, Buffer.concat([Buffer.from("\x06binary"), sized(length - head)]));
  assert.equal((await peer.answerTo(send(2048))).type, RESPONSE);
  send(2049);
  await peer.next({ type: ABORT });
  await peer.closed;
  assert.equal(await other.messaging.sendRequestToPath(path, new Uint8Array(3)), 3);
});

test("L-4 our own client sends nothing that is too large, and says so", async (t) => {
  const small = await startBroker(["--max-message-size", "2KiB"]);
  t.after(() => small.stop());
  const session = await open(t, small);
  const tooLarge = { code: "MESSAGE_TOO_LARGE", outcome: "not-sent" };
  const bytes = new Uint8Array(2048);
  await fails(session.messaging.sendRequestToPath("a", bytes), tooLarge);
  await fails(session.messaging.sendRequestToSession("a", session.id, bytes), tooLarge);
  await fails(session.messaging.sendRequestToFilter("all", "a", bytes), tooLarge);
  await fails(
    session.messaging.addRequestHandler("a".repeat(2048), () => 1),
    tooLarge,
  );
  assert.ok((await session.ping()) >= 0);
});

test("L-4 an answer that is too large fails its request, and the session of the handler goes on", async (t) => {
  const small = await startBroker(["--max-message-size", "2KiB"]);
  t.after(() => small.stop());
  const [asker, answerer] = [await open(t, small), await open(t, small)];
  const answer = (size) => new Uint8Array(size);
  await answerer.messaging.addRequestHandler("a", answer);
  answerer.messaging.addStreamHandler("a", answer, { addressed: true });
  const failed = { code: "CALLBACK_EXCEPTION", reason: 105, outcome: "failed" };
  await fails(asker.messaging.sendRequestToPath("a", 3000), failed);
  await fails(asker.messaging.sendRequestToSession("a", answerer.id, 3000), failed);
  assert.equal((await asker.messaging.sendRequestToPath("a", 1000)).length, 1000);
});

// A delivery is larger than the request that it carries, and a filter response larger than the answer.
test("L-4 the largest request that the broker takes does not end the session that gets it", async (t) => {
  const [asker, answerer] = [await open(t, broker), await open(t, broker, { properties: { a: "x".repeat(1000) } })];
  const path = unique("largest");
  const largest = 2 ** 25 - path.length - 20;
  await answerer.messaging.addRequestHandler(path, ({ length }) => length, { sessionProperties: ["*F", "*U"] });
  assert.equal(await asker.messaging.sendRequestToPath(path, new Uint8Array(largest)), largest);
  assert.equal(answerer.state, "connected");
});

test("L-4 the largest answer that the broker takes does not end the session that gets it", async (t) => {
  const [asker, answerer] = [await open(t, broker), await open(t, broker)];
  const largest = 2 ** 25 - 20;
  answerer.messaging.addStreamHandler("largest", () => new Uint8Array(largest), { addressed: true });
  const gathering = asker.messaging.gather(`$SessionId is '${answerer.id}'`, "largest", null);
  const [{ value, error }] = await collect(gathering);
  assert.equal(error, undefined);
  assert.equal(value.length, largest);
  assert.equal(asker.state, "connected");
});

test("L-4 our own client refuses a message beyond its maxMessageSize", async (t) => {
  const server = await scripted(t, (message, connection) => {
    if (message.service === SEND_TO_PATH) {
      const { path } = readSendToPath(message.body);
      connection.respond(message, text("x".repeat(path === "large" ? 1024 : 800)));
    }
  });
  const session = await open(t, server, { maxMessageSize: 1024 });
  assert.equal((await session.messaging.sendRequestToPath("small", 1)).length, 800);
  await fails(session.messaging.sendRequestToPath("large", 1), { code: "MESSAGE_TOO_LARGE", outcome: "failed" });
  assert.equal((await session.messaging.sendRequestToPath("small", 1)).length, 800);
});

/** A varint of two bytes and so many zeros after it. */
function sized(length) {
  return Buffer.concat([Buffer.from([(length & 0x7f) | 0x80, length >> 7]), Buffer.alloc(length)]);
}
