// Opening, closing, events, losing the connection.

import { ConnectError, connect } from "antiphon";
import {
  BROKER,
  CONTROL,
  collectEvents,
  deferred,
  fails,
  failsToConnect,
  gate,
  ok,
  open,
  openTwo,
  rejection,
  same,
  test,
  unique,
} from "../support.js";

test("a session says who and what it is", async () => {
  const session = await open();
  ok(/^[0-9a-f]{16}-[0-9a-f]{16}$/.test(session.id), session.id);
  same([session.principal, session.state], ["control", "connected"]);
  const { messaging } = session;
  ok(messaging === session.messaging, "messaging is another object each time");
});

test("a session without a principal is anonymous", async () => {
  same((await open({})).principal, "");
});

test("two sessions have different ids", async () => {
  const [one, other] = await openTwo();
  ok(one.id !== other.id, one.id);
});

test("a ping takes some time but not less than none", async () => {
  const time = await (await open()).ping();
  ok(time >= 0 && time < 10_000, `${time} ms`);
});

test("a session can read its own properties", async () => {
  const session = await open({ ...CONTROL, properties: { team: "blue", floor: "3" } });
  const { $Principal, $SessionId, $Transport, team, floor } = await session.getProperties();
  same([$Principal, $SessionId, $Transport, team, floor], ["control", session.id, "WEBSOCKET", "blue", "3"]);
  const named = await session.getProperties(["team", "$Principal", "none"]);
  same([Object.keys(named).sort(), named.team], [["$Principal", "team"], "blue"]);
  same(await session.getProperties([]), {});
});

test("a session can change its principal and stays the same session", async () => {
  const session = await open();
  const { id } = session;
  same(await session.changePrincipal("client", "password"), true);
  same([session.principal, session.id], ["client", id]);
  same(await session.getProperties(["$Principal"]), { $Principal: "client" });
});

test("a session keeps its principal if the new one is not accepted", async () => {
  const session = await open();
  for (const [principal, credentials] of [
    ["client", "wrong"],
    ["nobody", "password"],
    ["client", undefined],
  ]) {
    same(await session.changePrincipal(principal, credentials), false);
  }
  same([session.principal, session.state], ["control", "connected"]);
});

test("http addresses and URL objects are addresses too", async () => {
  const http = BROKER.replace("ws", "http");
  for (const url of [http, new URL(http), new URL(`${BROKER}#hash`)]) {
    const session = await connect(url, CONTROL);
    same(session.state, "connected", String(url));
    await session.close();
  }
});

test("a wrong password is denied and trying again will not help", async () => {
  for (const options of [
    { principal: "control", credentials: "wrong" },
    { principal: "control", credentials: "" },
    { principal: "control" },
    { principal: "control", credentials: new TextEncoder().encode("password") },
    { principal: "nobody", credentials: "password" },
  ]) {
    const what = JSON.stringify(options);
    await failsToConnect(connect(BROKER, { ...options, log: "off" }), "ACCESS_DENIED", false, what);
  }
});

test("credentials can come from a function", async () => {
  for (const credentials of [() => "password", async () => "password", () => Promise.resolve("password")]) {
    same((await open({ principal: "control", credentials })).principal, "control");
  }
});

test("a credentials function that fails rejects and tells why", async () => {
  const fail = () => {
    throw new Error("kaputt");
  };
  for (const credentials of [fail, async () => fail()]) {
    const error = await rejection(connect(BROKER, { principal: "control", credentials, log: "off" }));
    ok(error instanceof ConnectError && error.message.includes("kaputt"), String(error));
  }
});

test("where nobody listens the connection fails and can be tried again", () =>
  failsToConnect(connect("ws://127.0.0.1:2", { log: "off" }), "CONNECTION_ERROR", true));

test("an address that is no broker's is a connection that failed", () =>
  failsToConnect(connect(`ws://${location.host}/nothing/here`, { log: "off" }), "CONNECTION_ERROR", true));

/** A class of WebSockets that never open: what was made of it, and a promise of the first one. */
function silentSockets() {
  const made = [];
  const first = deferred();
  class Silent {
    closed = false;
    constructor(url) {
      this.url = url;
      made.push(this);
      first.resolve(this);
    }
    send() {}
    close() {
      this.closed = true;
    }
  }
  return { made, first: first.promise, webSocket: Silent };
}

test("a connection that does not open in time is given up", async () => {
  const { made, webSocket } = silentSockets();
  const connecting = connect(BROKER, { webSocket, connectTimeout: 20, log: "off" });
  await failsToConnect(connecting, "CONNECTION_TIMEOUT", true);
  same(
    made.map(({ closed }) => closed),
    [true],
  );
});

test("connecting can be aborted before it begins", async () => {
  const { made, webSocket } = silentSockets();
  const reason = { why: "never mind" };
  const error = await rejection(connect(BROKER, { webSocket, signal: AbortSignal.abort(reason) }));
  ok(error === reason, String(error));
  ok(
    made.every(({ closed }) => closed),
    "a socket is left",
  );
});

test("connecting can be aborted and the socket is closed", async () => {
  const { made, first, webSocket } = silentSockets();
  const controller = new AbortController();
  const connecting = rejection(connect(BROKER, { webSocket, signal: controller.signal }));
  await first;
  controller.abort();
  same((await connecting).name, "AbortError");
  same(
    made.map(({ closed }) => closed),
    [true],
  );
});

test("a signal aborted after connecting does not end the session", async () => {
  const controller = new AbortController();
  const session = await open({ signal: controller.signal });
  controller.abort();
  await session.ping();
  same(session.state, "connected");
});

test("every version of the protocol that can be asked for works", async () => {
  for (const protocolVersion of [22, 23, 24, 25, 26, 27, 28, 29]) {
    const { messaging } = await open({ ...CONTROL, protocolVersion });
    const path = unique("version");
    await messaging.addRequestHandler(path, (number) => number + 1);
    same(await messaging.sendRequestToPath(path, 1), 2, `version ${protocolVersion}`);
  }
});

/** What happens to a session, in order, as `[event, detail]`. */
function record(session) {
  const events = [];
  for (const event of ["statechange", "disconnect", "reconnect", "close"]) {
    session.on(event, (detail) => events.push([event, detail]));
  }
  return events;
}

const namesOf = (events) => events.map(([event]) => event);

test("closing tells the listeners and settles closed", async () => {
  const session = await open();
  const events = record(session);
  const { closed } = session;
  await session.close();
  same(session.state, "closed");
  same(
    events.map(([event, { from, to, code, byClient }]) => [event, from ?? code, to ?? byClient]),
    [
      ["statechange", "connected", "closed"],
      ["close", "CLOSED_BY_CLIENT", true],
    ],
  );
  const { code, byClient, reason } = await closed;
  same([code, byClient, typeof reason], ["CLOSED_BY_CLIENT", true, "string"]);
});

test("a session can be closed twice", async () => {
  const session = await open();
  const events = record(session);
  await Promise.all([session.close(), session.close()]);
  await session.close();
  same(namesOf(events), ["statechange", "close"]);
});

test("after closing every call rejects with session closed and nothing is sent", async () => {
  const session = await open();
  const { messaging } = session;
  const path = unique("closed");
  const registration = await messaging.addRequestHandler(path, () => 1);
  await session.close();
  for (const call of [
    () => messaging.sendRequestToPath(path, 1),
    () => messaging.addRequestHandler(path, () => 1),
    () => session.ping(),
    () => session.getProperties(),
    () => session.changePrincipal("client", "password"),
  ]) {
    await fails(call(), "SESSION_CLOSED", "not-sent", String(call));
  }
  // The registration ended with the session: closing it has nothing left to do.
  same(await registration.close(), undefined);
  session.on("close", () => {})();
  same(session.id.length, 33);
});

test("closing rejects everything outstanding with session closed, outcome unknown", async () => {
  const [asker, answerer] = await openTwo();
  const path = unique("outstanding");
  const { handler, arrived } = gate();
  await answerer.messaging.addRequestHandler(path, handler);
  const request = fails(asker.messaging.sendRequestToPath(path, 1), "SESSION_CLOSED", "unknown", "a request");
  await arrived;
  const others = {
    "a registration": asker.messaging.addRequestHandler(path, () => 1),
    "a ping": asker.ping(),
    properties: asker.getProperties(),
  };
  const outstanding = Object.entries(others).map(([what, promise]) =>
    fails(promise, "SESSION_CLOSED", "unknown", what),
  );
  await asker.close();
  await Promise.all([request, ...outstanding]);
});

test("a sender is told at once when the session of the handler closes", async () => {
  const [asker, answerer] = await openTwo();
  const path = unique("leaves");
  const { handler, arrived } = gate();
  await answerer.messaging.addRequestHandler(path, handler);
  const request = fails(asker.messaging.sendRequestToPath(path, 1), "SESSION_CLOSED", "unknown");
  await arrived;
  await answerer.close();
  same((await request).reason, 101);
  await fails(asker.messaging.sendRequestToPath(path, 1), "UNHANDLED_MESSAGE", "refused");
});

test("the signal of a handler is aborted when its session closes", async () => {
  const [asker, answerer] = await openTwo();
  const path = unique("signal");
  const { handler, arrived } = gate();
  await answerer.messaging.addRequestHandler(path, handler);
  const request = fails(asker.messaging.sendRequestToPath(path, 1), "SESSION_CLOSED", "unknown");
  const { signal } = (await arrived).context;
  const aborted = deferred();
  signal.onabort = () => aborted.resolve(signal.reason);
  same(signal.aborted, false);
  await answerer.close();
  same((await aborted.promise).code, "SESSION_CLOSED");
  await request;
});

test("the signal of a handler that looks at it late is aborted already", async () => {
  const [asker, answerer] = await openTwo();
  const path = unique("signal");
  const { handler, arrived, answer } = gate();
  await answerer.messaging.addRequestHandler(path, handler);
  const request = rejection(asker.messaging.sendRequestToPath(path, 1));
  const { context } = await arrived;
  await answerer.close();
  same(context.signal.aborted, true);
  await request;
  // An answer that nobody can be given harms nobody.
  answer(1);
  await fails(asker.messaging.sendRequestToPath(path, 1), "UNHANDLED_MESSAGE", "refused");
});

test("the signal of a handler that has answered is not aborted", async () => {
  const [asker, answerer] = await openTwo();
  const path = unique("signal");
  let signal;
  await answerer.messaging.addRequestHandler(path, (_, context) => {
    signal = context.signal;
    return 1;
  });
  await asker.messaging.sendRequestToPath(path, 1);
  await answerer.close();
  same(signal.aborted, false);
});

test("a listener that was taken out hears nothing", async () => {
  const session = await open();
  const heard = [];
  const stop = session.on("close", () => heard.push("first"));
  session.on("close", () => heard.push("second"));
  stop();
  stop();
  await session.close();
  same(heard, ["second"]);
});

test("a listener that throws harms neither the others nor the session", async () => {
  const session = await open();
  const heard = [];
  const reported = collectEvents("error", ({ message }) => message.includes("kaputt"));
  session.on("statechange", () => {
    throw new Error("kaputt");
  });
  session.on("statechange", ({ to }) => heard.push(to));
  session.on("close", () => heard.push("close"));
  await session.close();
  reported.stop();
  same(heard, ["closed", "close"]);
  same(reported.collected, [true]);
});

/** A session and the sockets that are made for it. */
async function openTraced(options) {
  const sockets = [];
  class Traced extends WebSocket {
    constructor(url) {
      super(url);
      sockets.push(this);
    }
  }
  return { session: await open({ ...CONTROL, webSocket: Traced, ...options }), sockets };
}

test("a lost connection rejects what is outstanding and ends the session", async () => {
  const answerer = await open();
  const { session: asker, sockets } = await openTraced({ reconnect: false });
  const events = record(asker);
  const path = unique("lost");
  const { handler, arrived } = gate();
  await answerer.messaging.addRequestHandler(path, handler);
  const request = fails(asker.messaging.sendRequestToPath(path, 1), "CONNECTION_LOST", "unknown");
  await arrived;
  sockets[0].close();
  await request;
  const { code, byClient } = await asker.closed;
  same([code, byClient], ["CONNECTION_ERROR", false]);
  same(namesOf(events), ["statechange", "disconnect", "close"]);
  await fails(asker.ping(), "SESSION_CLOSED", "not-sent");
});

test("a lost connection is replaced and what is outstanding is answered", async () => {
  const answerer = await open();
  const { session: asker, sockets } = await openTraced();
  const events = record(asker);
  const path = unique("kept");
  const { handler, arrived, answer } = gate();
  await answerer.messaging.addRequestHandler(path, handler);
  const { id } = asker;
  const request = asker.messaging.sendRequestToPath(path, 1);
  await arrived;
  sockets[0].close();
  answer("while nobody listens");
  same(await request, "while nobody listens");
  same([asker.state, asker.id], ["connected", id]);
  same(
    events.map(([event, detail]) => [event, detail.to ?? detail.lossless]),
    [
      ["statechange", "recovering"],
      ["disconnect", undefined],
      ["statechange", "connected"],
      ["reconnect", true],
    ],
  );
});

test("a request waits for a connection only if it is told to", async () => {
  const { session, sockets } = await openTraced({ reconnect: { delay: () => 60_000 } });
  const { messaging } = session;
  const path = unique("waits");
  await messaging.addRequestHandler(path, (request) => [request]);
  const lost = deferred();
  session.on("disconnect", lost.resolve);
  sockets[0].close();
  await lost.promise;
  await fails(messaging.sendRequestToPath(path, 1), "NOT_CONNECTED", "not-sent");
  const late = messaging.sendRequestToPath(path, 2, { whenDisconnected: "wait", timeout: 1 });
  await fails(late, "TIMED_OUT", "not-sent");
  session.reconnect();
  same(await messaging.sendRequestToPath(path, 3, { whenDisconnected: "wait" }), [3]);
});

/** The client is given this as a message from the broker. */
const receive = (socket, data) => socket.onmessage(new MessageEvent("message", { data }));

test("a broker that breaks the protocol ends the session and nothing else", async () => {
  for (const data of [
    "text",
    new ArrayBuffer(),
    Uint8Array.of(63, 1, 2, 3).buffer,
    Uint8Array.of(0, 255, 255).buffer,
  ]) {
    const { session, sockets } = await openTraced({ reconnect: false });
    await session.messaging.addRequestHandler(unique("broken"), () => 1);
    const outstanding = fails(session.ping(), "CONNECTION_LOST", "unknown");
    receive(sockets[0], data);
    await outstanding;
    same((await session.closed).code, "TRANSPORT_ERROR");
  }
  await (await open()).ping();
});

test("a message that answers nothing is ignored", async () => {
  const { session, sockets } = await openTraced();
  // A response, an error and a ping's response to a conversation that never was; topic messages of no topic.
  for (const bytes of [
    [6, 99, 4],
    [7, 99, 1, 65, 9],
    [6, 100],
    [4, 0, 0, 0, 1, 2],
    [5, 0, 0, 0, 1, 2],
  ]) {
    receive(sockets[0], Uint8Array.from(bytes).buffer);
  }
  await session.ping();
  same(session.state, "connected");
});

test("the broker closing the session says so", async () => {
  const { session, sockets } = await openTraced();
  const outstanding = fails(session.ping(), "SESSION_CLOSED", "unknown");
  receive(sockets[0], Uint8Array.of(28).buffer);
  await outstanding;
  const { code, byClient } = await session.closed;
  same([code, byClient], ["CLOSED_BY_SERVER", false]);
});
