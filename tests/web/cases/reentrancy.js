// Code of the application that calls back at awkward moments.

import { deferred, fails, gate, open, openTwo, rejection, same, test, unique } from "../support.js";

test("a handler can ask before it answers", async () => {
  const [asker, { messaging }] = await openTwo();
  const [inner, outer] = [unique("inner"), unique("outer")];
  await messaging.addRequestHandler(inner, (number) => number * 2);
  await messaging.addRequestHandler(outer, async (number) => 1 + (await messaging.sendRequestToPath(inner, number)));
  same(await asker.messaging.sendRequestToPath(outer, 20), 41);
});

test("sessions can ask each other in turn and deeply", async () => {
  const [one, other] = await openTwo();
  const [ping, pong] = [unique("ping"), unique("pong")];
  const back = (session, path) => (number) =>
    number === 0 ? "bottom" : session.messaging.sendRequestToPath(path, number - 1);
  await one.messaging.addRequestHandler(ping, back(one, pong));
  await other.messaging.addRequestHandler(pong, back(other, ping));
  same(await one.messaging.sendRequestToPath(pong, 50), "bottom");
});

test("a toJSON that sends a request disturbs neither", async () => {
  const { messaging } = await open();
  const path = unique("echo");
  await messaging.addRequestHandler(path, (request) => request);
  const send = (value) => messaging.sendRequestToPath(path, value);
  const filler = "x".repeat(100_000);
  const inner = [];
  const outer = await send({
    before: 1,
    nested: {
      toJSON() {
        inner.push(send({ filler, list: [2, 3] }));
        return { number: 4 };
      },
    },
    get later() {
      inner.push(send("text"));
      return [5];
    },
    after: 6,
  });
  same(outer, { before: 1, nested: { number: 4 }, later: [5], after: 6 });
  same(await Promise.all(inner), [{ filler, list: [2, 3] }, "text"]);
});

test("an answer whose toJSON sends a request arrives", async () => {
  const [asker, { messaging }] = await openTwo();
  const [inner, outer] = [unique("inner"), unique("outer")];
  let sent;
  await messaging.addRequestHandler(inner, (request) => request);
  await messaging.addRequestHandler(outer, () => ({
    a: 1,
    b: {
      toJSON() {
        sent = messaging.sendRequestToPath(inner, [7]);
        return 2;
      },
    },
  }));
  same(await asker.messaging.sendRequestToPath(outer, 1), { a: 1, b: 2 });
  same(await sent, [7]);
});

/** An object with a member that does this when it is read. */
const reading = (member, act) => Object.defineProperty({}, member, { get: act, enumerable: true });

test("a value that closes the session while it is read is not sent", async () => {
  const session = await open();
  const value = reading("a", () => {
    session.close();
    return 1;
  });
  await fails(session.messaging.sendRequestToPath(unique("closes"), value), "SESSION_CLOSED", "not-sent");
});

test("options that close the session while they are read do no harm", async () => {
  const session = await open();
  const options = reading("timeout", () => {
    session.close();
    return 5;
  });
  await fails(session.messaging.sendRequestToPath(unique("closes"), 1, options), "SESSION_CLOSED", "not-sent");
});

test("a handler can close its own session", async () => {
  const [asker, answerer] = await openTwo();
  const path = unique("closes");
  await answerer.messaging.addRequestHandler(path, () => {
    answerer.close();
    return "nobody will know";
  });
  await fails(asker.messaging.sendRequestToPath(path, 1), "SESSION_CLOSED", "unknown");
  same([answerer.state, asker.state], ["closed", "connected"]);
});

test("a handler can close its own registration and still answer", async () => {
  const [asker, answerer] = await openTwo();
  const path = unique("closes");
  const registration = await answerer.messaging.addRequestHandler(path, async () => {
    await registration.close();
    return "last words";
  });
  same(await asker.messaging.sendRequestToPath(path, 1), "last words");
  await fails(asker.messaging.sendRequestToPath(path, 1), "UNHANDLED_MESSAGE", "refused");
});

test("a handler can register another", async () => {
  const [asker, { messaging }] = await openTwo();
  const [first, second] = [unique("first"), unique("second")];
  await messaging.addRequestHandler(first, async () => {
    await messaging.addRequestHandler(second, () => "second");
    return "first";
  });
  same(await asker.messaging.sendRequestToPath(first, 1), "first");
  same(await asker.messaging.sendRequestToPath(second, 1), "second");
});

test("a listener that calls the session that is closing gets its answer", async () => {
  const session = await open();
  const called = deferred();
  session.on("statechange", () => {
    const calls = [session.close(), session.ping(), session.messaging.sendRequestToPath("a", 1), session.closed];
    called.resolve({ state: session.state, settled: Promise.allSettled(calls) });
  });
  await session.close();
  const { state, settled } = await called.promise;
  same(state, "closed");
  const codes = (await settled).map(({ reason, value }) => reason?.code ?? value?.code);
  same(codes, [undefined, "SESSION_CLOSED", "SESSION_CLOSED", "CLOSED_BY_CLIENT"]);
});

test("an abort listener of a handler can call the session that is closing", async () => {
  const [asker, answerer] = await openTwo();
  const path = unique("aborts");
  const { handler, arrived } = gate();
  await answerer.messaging.addRequestHandler(path, handler);
  const request = rejection(asker.messaging.sendRequestToPath(path, 1));
  const { context } = await arrived;
  let call;
  context.signal.onabort = () => {
    call = fails(answerer.messaging.sendRequestToPath("a", 1), "SESSION_CLOSED", "not-sent");
  };
  await answerer.close();
  same(call instanceof Promise, true);
  await call;
  const { code, outcome } = await request;
  same([code, outcome], ["SESSION_CLOSED", "unknown"]);
});

test("a session can be closed by what waits for an answer", async () => {
  const [asker, answerer] = await openTwo();
  const path = unique("chain");
  await answerer.messaging.addRequestHandler(path, (request) => request);
  const chain = asker.messaging.sendRequestToPath(path, 1).then(() => asker.close());
  same(await chain.then(() => asker.state), "closed");
});

test("aborting from within the encoding of the request rejects it", async () => {
  const { messaging } = await open();
  const path = unique("echo");
  await messaging.addRequestHandler(path, (request) => request);
  const controller = new AbortController();
  const request = reading("a", () => {
    controller.abort("while encoding");
    return 1;
  });
  same(await rejection(messaging.sendRequestToPath(path, request, { signal: controller.signal })), "while encoding");
  same(await messaging.sendRequestToPath(path, 1), 1);
});
