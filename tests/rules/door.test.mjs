// Rules S-24 and S-25: the door at which nothing is in the address, and what the broker says to those whose connect request
// it cannot read, at either door.

import assert from "node:assert/strict";
import { on, once } from "node:events";
import { readFileSync } from "node:fs";
import { connect as connectTcp, createServer } from "node:net";
import { text as allText } from "node:stream/consumers";
import { after, test } from "node:test";
import { connect } from "antiphon";
import { WebSocket } from "ws";
import { startBroker } from "../support/broker.mjs";
import { ERROR, readConnectionResponse, TOKEN, text } from "../support/wire.mjs";
import { open, options, rejection, unique } from "./support/client.mjs";
import { connectPeer, parametersOf, startServer } from "./support/endpoint.mjs";

const broker = await startBroker(["--log", "trace"]);
after(() => broker.stop());

const DOORS = ["/diffusion", "/antiphon"];
const doorOf = ({ url }, path = "/antiphon") => url.replace("/diffusion", path);
const door = { url: doorOf(broker) };

/** A relay in front of the broker that keeps the head of every HTTP request. */
async function startRecorder(t) {
  const heads = [];
  const links = new Set();
  const server = createServer((near) => {
    const far = connectTcp(broker.port, "127.0.0.1");
    const number = heads.push("") - 1;
    near.on("data", (bytes) => {
      if (!heads[number].includes("\r\n\r\n")) heads[number] += bytes.toString("latin1");
    });
    for (const [from, to] of [
      [near, far],
      [far, near],
    ]) {
      links.add(from.on("error", () => {}).on("close", () => to.destroy()));
      from.pipe(to);
    }
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  const cut = () => {
    for (const link of links) link.destroy();
  };
  t.after(() => {
    cut();
    server.close();
  });
  return { url: `ws://127.0.0.1:${server.address().port}/antiphon`, heads, cut };
}

const secrets = { principal: "mark-principal", credentials: "mark-password", properties: { mark: "mark-property" } };
/** Each as text, and as it is in a query. */
const marked = ["mark-", Buffer.from("\x01\x0dmark-password").toString("base64"), "password=", "sp=", "antiphon="];

test("S-24 nothing that connect is given is in the address or a header, at the first connection", async (t) => {
  const recorder = await startRecorder(t);
  const error = await rejection(connect(recorder.url, { ...options, ...secrets }));
  assert.equal(error.code, "ACCESS_DENIED");
  assert.match(recorder.heads[0], /^GET \/antiphon HTTP\/1\.1\r\n/);
  for (const mark of marked) assert.ok(!recorder.heads[0].includes(mark), `${mark} in ${recorder.heads[0]}`);
  assert.ok(!broker.log().includes("mark-password") && !broker.log().includes("mark-property"));
});

test("S-24 nor is it when a session is taken up again, and nor is the token", async (t) => {
  const recorder = await startRecorder(t);
  const given = { ...options, principal: "control", credentials: "password", properties: secrets.properties };
  const session = await connect(recorder.url, { ...given, reconnect: { delay: () => 1 } });
  t.after(() => session.close());
  const { id } = session;
  const path = unique("door");
  await session.messaging.addRequestHandler(path, (request) => `${request} is back`);
  const back = new Promise((resolve) => session.on("reconnect", resolve));
  recorder.cut();
  assert.deepEqual(await back, { lossless: true, newSession: false });
  assert.equal(session.id, id);
  assert.equal(await session.messaging.sendRequestToPath(path, "it"), "it is back");
  assert.deepEqual(await session.getProperties(["$Principal", "mark"]), {
    $Principal: "control",
    mark: "mark-property",
  });
  assert.equal(recorder.heads.length, 2);
  for (const head of recorder.heads) {
    assert.match(head, /^GET \/antiphon HTTP\/1\.1\r\n/);
    for (const mark of [...marked, "c="]) assert.ok(!head.includes(mark), `${mark} in ${head}`);
  }
});

test("S-24 a path in front of the door, a slash behind it, and a query of the application's own", async (t) => {
  const server = await startServer();
  t.after(() => server.stop());
  const seen = [];
  const webSocket = class extends WebSocket {
    constructor(url) {
      super(url);
      seen.push(new URL(url).pathname + new URL(url).search);
    }
  };
  const base = server.url.replace("/diffusion", "");
  for (const path of ["/antiphon", "/antiphon?region=eu"]) {
    await open(t, { url: base + path }, { webSocket });
    assert.equal(seen.at(-1), path);
    assert.equal(server.connections.at(-1).query.ty, "WB");
  }
  const slash = await open(t, { url: `${door.url}/` }, { webSocket });
  assert.equal(seen.at(-1), "/antiphon/");
  await slash.ping();
  // The scripted server does not know this path for what it is, and takes what comes for a message.
  await open(t, { url: `${base}/behind/a/proxy/antiphon` }, { webSocket });
  assert.equal(seen.at(-1), "/behind/a/proxy/antiphon");
  const connection = server.connections.at(-1);
  await connection.next();
  assert.match(String(connection.frames[0]), /^ty=WB&v=25&/);
});

test("S-24 one round trip as before: the parameters follow the handshake, and the first message answers them", async (t) => {
  const server = await startServer(() => {}, {});
  t.after(() => server.stop());
  const given = {
    principal: "ada",
    credentials: "secret",
    properties: { team: "blue" },
    reconnect: { delay: () => 1 },
  };
  const session = await open(t, { url: doorOf(server) }, given);
  await open(t, server, given);
  const [first, official] = server.connections;
  assert.equal(first.query.password, "AQZzZWNyZXQ=");
  assert.equal(JSON.parse(first.query.sp).team, "blue");
  assert.deepEqual(first.query, official.query, "the same parameters, in another place");
  const back = new Promise((resolve) => session.on("reconnect", resolve));
  await first.cut();
  await back;
  assert.equal(server.connections[2].query.c, TOKEN);
});

test("S-24 connectTimeout covers a server that says nothing, and a connection that breaks is a TRANSPORT_ERROR", async (t) => {
  const [silent, breaking] = [await startServer(() => {}, null), await startServer(() => {}, null)];
  t.after(() => Promise.all([silent.stop(), breaking.stop()]));
  const impatient = connect(doorOf(silent), { ...options, connectTimeout: 50 });
  assert.equal((await rejection(impatient)).code, "CONNECTION_TIMEOUT");
  const broken = rejection(connect(doorOf(breaking), options));
  await (await breaking.connection(0)).cut();
  const { code, retryable } = await broken;
  assert.deepEqual({ code, retryable }, { code: "TRANSPORT_ERROR", retryable: true });
});

for (const size of [10_000, 40_000]) {
  test(`S-24 credentials of ${size} characters arrive, which are too long for many an address`, async () => {
    const given = { ...options, principal: "ada", credentials: "t".repeat(size) };
    assert.equal((await rejection(connect(door.url, given))).code, "ACCESS_DENIED");
  });
}

test("S-24 a connect request of more than 64 KiB is refused, in words", async (t) => {
  const note = (length) => ({ ...options, properties: { note: "n".repeat(length) } });
  const session = await open(t, door, note(60_000));
  assert.equal((await session.getProperties(["note"])).note.length, 60_000);
  for (const length of [70_000, 4_000_000]) {
    const { code, retryable } = await rejection(connect(door.url, note(length)));
    assert.deepEqual({ code, retryable }, { code: "HANDSHAKE_REJECTED", retryable: false });
  }
});

test("S-24 both doors lead to the same sessions: each can be taken up again by the other", async (t) => {
  const first = await connectPeer(broker, { query: { r: 60_000 } });
  await first.cut();
  const second = await connectPeer(door, { query: { r: 60_000, c: first.token, cs: 1, ss: 0 } });
  assert.deepEqual([second.code, second.id], [105, first.id]);
  await second.cut();
  const third = await connectPeer(broker, { query: { r: 60_000, c: first.token, cs: 1, ss: 0 } });
  t.after(() => third.close());
  assert.deepEqual([third.code, third.id], [105, first.id]);
});

test("S-13 S-24 a page that is left posts its token beside this door as well", async () => {
  const peer = await connectPeer(door, { query: { r: 60_000 } });
  const answer = await fetch(`${broker.httpUrl}antiphon/close`, { method: "POST", body: peer.token });
  assert.equal(answer.status, 204);
  await peer.closed;
});

// ---- What the broker makes of a first message ----

/** Opens a WebSocket, sends `messages` (bytes, text, or functions of the socket) and resolves with what comes of it. */
async function say(url, ...messages) {
  const socket = new WebSocket(url, { perMessageDeflate: false });
  const frames = [];
  socket.on("message", (bytes) => frames.push(bytes));
  socket.on("open", () => {
    for (const message of messages) {
      if (typeof message === "function") message(socket);
      else socket.send(message);
    }
  });
  const [code] = await once(socket, "close");
  return { code, frames };
}

const bytes = (query) => Buffer.from(query);

test("S-24 before the first message pings are answered; it may come in fragments, and more right behind it", async (t) => {
  const parameters = bytes(parametersOf());
  const socket = new WebSocket(door.url, { perMessageDeflate: false });
  t.after(() => socket.terminate());
  const pong = once(socket, "pong");
  await once(socket, "open");
  socket.ping("alive?");
  assert.equal(String((await pong)[0]), "alive?");
  const frames = on(socket, "message");
  const next = async () => (await frames.next()).value[0];
  socket.send(parameters.subarray(0, 5), { fin: false });
  socket.send(parameters.subarray(5));
  socket.send(Buffer.of(0, 56, 1)); // a ping of the protocol
  assert.equal(readConnectionResponse(await next()).code, 100);
  const answer = await next();
  assert.deepEqual([...answer], [6, 1]);
});

test("V3 S-24 what is too large for a first message is not kept, however much of it comes", {
  skip: process.platform !== "linux" && "the memory of a process is looked up as Linux tells it",
}, async () => {
  const resident = () => Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${broker.process.pid}/status`))[1]);
  const part = Buffer.alloc(1 << 20);
  /** Sends a megabyte, in a message that is said to be larger; by fragments of 1 KiB, or in one frame. */
  const flood = (fragment) => async () => {
    const { code, frames } = await say(door.url, (socket) => {
      if (!fragment) return socket.send(part);
      for (let at = 0; at < part.length; at += fragment) {
        socket.send(part.subarray(at, at + fragment), { fin: false }, () => {});
      }
    });
    assert.deepEqual([code, frames.map(readConnectionResponse)], [1009, [{ version: 29, code: 115 }]]);
  };
  const floods = [undefined, 1024].flatMap((fragment) => new Array(50).fill(flood(fragment)));
  await Promise.all(floods.slice(45, 55).map((run) => run())); // what it takes once
  const before = resident();
  await Promise.all(floods.map((run) => run()));
  const more = resident() - before;
  assert.ok(more < 24 * 1024, `${more} KiB for 100 MiB that nobody takes`);
});

test("V4 S-24 a first message has to come in time, however it drips", async (t) => {
  const hasty = await startBroker(["--handshake-timeout", "300ms"]);
  t.after(() => hasty.stop());
  const drip = (socket) => {
    const timer = setInterval(() => socket.send(Buffer.from("v"), { fin: false }, () => {}), 50);
    socket.once("close", () => clearInterval(timer));
  };
  const before = performance.now();
  const said = await Promise.all([
    ...[() => {}, drip, (socket) => socket.ping()].map((act) => say(doorOf(hasty), act)),
    open(t, { url: doorOf(hasty) }),
  ]);
  assert.ok(performance.now() - before > 250);
  const ended = said.slice(0, -1).map(({ code, frames }) => [code, frames.map(readConnectionResponse)]);
  assert.deepEqual(ended, new Array(3).fill([1008, [{ version: 29, code: 115 }]]));
  // It had something to say, and is not affected.
  await said.at(-1).ping();
});

test("S-24 a client that goes before it has said anything is let go", async () => {
  const { code, frames } = await say(door.url, (socket) => socket.close(1000));
  assert.deepEqual([code, frames], [1000, []]);
  const session = await connect(door.url, options);
  await session.close();
});

test("S-25 what cannot be read is answered 115 with the version asked for, at both doors", async () => {
  const usual = { ty: "WB", ca: 8, r: 0 };
  const cases = [
    [{ ...usual }, 29],
    [{ ...usual, v: "" }, 29],
    [{ ...usual, v: "x" }, 29],
    [{ ...usual, v: "300" }, 29],
    [{ ...usual, v: "-1" }, 29],
    [{ ...usual, v: "25", ca: "y" }, 25],
    [{ ...usual, v: "25", r: "-5" }, 25],
    [{ ...usual, v: "28", r: "1e3" }, 28],
    [{ ...usual, v: "28", password: "*", username: "ada" }, 28],
    [{ ...usual, v: "28", password: "AQE=", username: "ada" }, 28],
    [{ ...usual, v: "27", sp: "{" }, 27],
    [{ ...usual, v: "27", sp: '{"a":1}' }, 27],
    [{ ...usual, v: "27", sp: '"a"' }, 27],
    [{ ...usual, v: "26", c: "x", cs: "?" }, 26],
    [{ ...usual, v: "26", c: "x", ss: "-1" }, 26],
    [{ ...usual, v: "25", antiphon: "all" }, 25],
  ].map(([parameters, version]) => [String(new URLSearchParams(parameters)), version]);
  const broken = "ty=WB&v=25&ca=8&r=0&username=%FF%FE&password=";
  for (const [query, version] of [...cases, [broken, 25]]) {
    for (const path of DOORS) {
      const url = doorOf(broker, path);
      const { code, frames } = await (path === "/antiphon" ? say(url, bytes(query)) : say(`${url}?${query}`));
      assert.deepEqual(frames.map(readConnectionResponse), [{ version, code: 115 }], `${path} ${query}`);
      assert.equal(code, 1000, path);
    }
  }
  assert.match(broker.log(), /INFO .*refused: the parameter sp cannot be read client="127\.0\.0\.1"/);
});

test("S-25 a version that the broker does not speak is answered 102, at both doors", async () => {
  for (const version of [0, 21, 30, 255]) {
    const query = parametersOf({ v: version });
    for (const path of DOORS) {
      const url = doorOf(broker, path);
      const { frames } = await (path === "/antiphon" ? say(url, bytes(query)) : say(`${url}?${query}`));
      assert.deepEqual(frames.map(readConnectionResponse), [{ version, code: 102 }], `${path} ${version}`);
    }
  }
});

test("S-25 a first message that is none is answered 115: text, no text at all, an abort, a request", async () => {
  for (const message of [parametersOf(), Buffer.of(0xff, 0xfe), Buffer.alloc(0), Buffer.of(28), Buffer.of(0, 56, 1)]) {
    const { frames } = await say(door.url, message);
    assert.deepEqual(frames.map(readConnectionResponse), [{ version: 29, code: 115 }], String(message));
  }
});

test("S-25 our client says so: HANDSHAKE_REJECTED, and not that nothing listens there", async (t) => {
  const given = { ...options, protocolVersion: 25 };
  for (const path of DOORS) {
    // As if a proxy had spoiled what is said.
    const webSocket = class extends WebSocket {
      constructor(url) {
        super(url.replace("&v=25", "&v=x"));
      }
      send(data) {
        super.send(Buffer.from(String(Buffer.from(data)).replace("&v=25", "&v=x")));
      }
    };
    const error = await rejection(connect(doorOf(broker, path), { ...given, webSocket }));
    assert.deepEqual([error.name, error.code, error.retryable], ["ConnectError", "HANDSHAKE_REJECTED", false]);
    assert.match(error.message, /could not make sense of the connect request/);
  }
  const session = await open(t, door);
  const path = unique("after");
  await session.messaging.addRequestHandler(path, (request) => request);
  const peer = await connectPeer(door);
  t.after(() => peer.close());
  assert.notEqual((await peer.answerTo(peer.sendToPath(path, text("good")))).type, ERROR);
});

test("S-25 what is no WebSocket is answered by HTTP, at both doors", async () => {
  for (const path of DOORS) {
    for (const target of [path, `${path}/`, `${path}?${parametersOf()}`]) {
      const answer = await fetch(new URL(target, broker.httpUrl));
      assert.equal(answer.status, 400, target);
      assert.match(await answer.text(), /not a WebSocket/);
    }
    const foreign = await fetch(new URL(path, broker.httpUrl), { headers: { origin: "https://elsewhere.example" } });
    assert.equal(foreign.status, 403);
    const socket = connectTcp(broker.port, "127.0.0.1");
    socket.write(`GET ${path}?${"q".repeat(70_000)} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n`);
    assert.match(await allText(socket), /^HTTP\/1\.1 414 /);
  }
});
