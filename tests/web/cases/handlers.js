// Handlers that misbehave, answers, registrations.

import { RejectedRequestError } from "antiphon";
import { collectEvents, fails, gate, ok, open, openTwo, same, test, unique } from "../support.js";

/**
 * A handler that does `misbehave` for the request "bad", and answers every other with itself, fails with this code; the
 * sender is told `text`, the next request is answered, and no rejection goes unhandled.
 */
async function handlerFails(misbehave, code, text) {
  const [asker, answerer] = await openTwo();
  const path = unique("misbehaves");
  const unhandled = collectEvents("unhandledrejection", ({ reason }) => String(reason));
  await answerer.messaging.addRequestHandler(path, (request) => (request === "bad" ? misbehave() : request));
  const { message } = await fails(asker.messaging.sendRequestToPath(path, "bad"), code, "failed", String(misbehave));
  ok(message.includes(text), `${JSON.stringify(message)} has ${text} in it`);
  ok(!message.includes("\n    at "), `no stack: ${message}`);
  same(await asker.messaging.sendRequestToPath(path, "good"), "good");
  // Such events are tasks of their own; a message from the broker comes after them.
  await asker.ping();
  unhandled.stop();
  same(unhandled.collected, [], String(misbehave));
}

/** A function that throws what `make` makes. */
const throwing = (make) => () => {
  throw make();
};
/** The same, as a rejection. */
const rejecting = (make) => async () => {
  throw make();
};

test("a handler that throws fails with its message and stays", () =>
  handlerFails(
    throwing(() => new TypeError("kaputt")),
    "CALLBACK_EXCEPTION",
    "kaputt",
  ));

test("a handler that rejects fails with its message and stays", () =>
  handlerFails(
    rejecting(() => new TypeError("kaputt")),
    "CALLBACK_EXCEPTION",
    "kaputt",
  ));

test("a handler that throws a RejectedRequestError declines with its message", () =>
  handlerFails(
    throwing(() => new RejectedRequestError("not today")),
    "REJECTED_REQUEST",
    "not today",
  ));

test("a handler that rejects with a RejectedRequestError declines with its message", () =>
  handlerFails(
    rejecting(() => new RejectedRequestError("not today")),
    "REJECTED_REQUEST",
    "not today",
  ));

test("a handler that throws a string fails with it", () =>
  handlerFails(
    throwing(() => "kaputt"),
    "CALLBACK_EXCEPTION",
    "kaputt",
  ));

test("a handler that throws nothing in particular fails", async () => {
  for (const it of [undefined, null, 0, "", {}, Symbol("s"), Object.create(null), new Error()]) {
    await handlerFails(
      throwing(() => it),
      "CALLBACK_EXCEPTION",
      "",
    );
  }
});

const throwOne = () => {
  throw 1;
};

test("a handler that throws something hostile fails", async () => {
  for (const make of [
    () => ({ toString: throwOne }),
    () => Object.defineProperties({}, { message: { get: throwOne }, toString: { get: throwOne } }),
    () => Object.defineProperty(new Error(), "message", { get: throwOne }),
    () => Object.defineProperty(new Error(), "message", { value: Symbol("s") }),
  ]) {
    await handlerFails(throwing(make), "CALLBACK_EXCEPTION", "");
    await handlerFails(rejecting(make), "CALLBACK_EXCEPTION", "");
  }
});

test("a handler that throws a proxy that throws fails", async () => {
  const make = () => new Proxy({}, { get: throwOne, getPrototypeOf: throwOne });
  await handlerFails(throwing(make), "CALLBACK_EXCEPTION", "");
  await handlerFails(rejecting(make), "CALLBACK_EXCEPTION", "");
});

const fail = () => {
  throw new Error("kaputt");
};

test("a handler that returns what JSON cannot say fails and says what it was", async () => {
  const circle = { a: {} };
  circle.a.b = circle;
  for (const [answer, text] of [
    [circle, ""],
    [{ list: [1, () => {}] }, "list[1]"],
    [Symbol("s"), ""],
    [2n ** 64n, ""],
    ["\ud800", ""],
    [Object.defineProperty({}, "a", { get: fail, enumerable: true }), "value.a"],
    [{ toJSON: fail }, "value"],
  ]) {
    await handlerFails(() => answer, "CALLBACK_EXCEPTION", text);
  }
});

/** An object with this function as its `then`. */
// biome-ignore lint/suspicious/noThenProperty: that is what is tested
const thenable = (then) => Object.defineProperty({}, "then", { value: then, enumerable: true });

test("a handler that returns a thenable which fails fails", async () => {
  for (const answer of [
    thenable((_, reject) => reject(new Error("kaputt"))),
    thenable(fail),
    // biome-ignore lint/suspicious/noThenProperty: that is what is tested
    Object.defineProperty({}, "then", { get: fail, enumerable: true }),
  ]) {
    await handlerFails(() => answer, "CALLBACK_EXCEPTION", "kaputt");
  }
});

/** The handler answers the request with what is expected, and then the next one. */
async function answers(request, handler, expected) {
  const [asker, answerer] = await openTwo();
  const path = unique("answers");
  await answerer.messaging.addRequestHandler(path, handler);
  for (const _ of [1, 2]) same(await asker.messaging.sendRequestToPath(path, request), expected);
}

test("a handler that returns nothing answers null", async () => {
  for (const request of [{}, "text", 1.5, 1n, Uint8Array.of(1)]) {
    await answers(request, () => {}, null);
    await answers(request, async () => null, null);
  }
});

test("a handler that returns a bigint answers with it as the request's type allows", async () => {
  await answers("text", () => 5n, 5n);
  await answers(1n, () => 2n ** 63n - 1n, 2n ** 63n - 1n);
  await answers({}, () => 5n, 5);
  await answers({}, () => 2n ** 53n + 1n, 2n ** 53n + 1n);
});

test("a thenable that settles twice answers with the first", async () => {
  for (const then of [
    (resolve) => {
      resolve("first");
      resolve("second");
    },
    (resolve, reject) => {
      resolve("first");
      reject("second");
    },
    (resolve) => {
      resolve("first");
      throw new Error("second");
    },
  ]) {
    await answers("text", () => thenable(then), "first");
  }
});

test("a handler that never answers does not keep others from answering", async () => {
  const [asker, answerer] = await openTwo();
  const [never, other] = [unique("never"), unique("other")];
  await answerer.messaging.addRequestHandler(never, () => new Promise(() => {}));
  await answerer.messaging.addRequestHandler(other, (request) => request);
  const waiting = fails(asker.messaging.sendRequestToPath(never, 1, { timeout: 100 }), "TIMED_OUT", "unknown");
  same(await asker.messaging.sendRequestToPath(other, 2), 2);
  await waiting;
});

test("a request that cannot be converted for the handler is refused and it is not called", async () => {
  const [asker, answerer] = await openTwo();
  const path = unique("typed");
  const called = [];
  await answerer.messaging.addRequestHandler(path, (request) => called.push(request), { requestType: "int64" });
  const error = await fails(asker.messaging.sendRequestToPath(path, "text"), "INCOMPATIBLE_DATATYPE", "refused");
  same(error.reason, 108);
  await asker.messaging.sendRequestToPath(path, 7n);
  same(called, [7n]);
});

test("a handler that named its answer's type answers with that type", async () => {
  const [asker, answerer] = await openTwo();
  const path = unique("typed");
  await answerer.messaging.addRequestHandler(path, (number) => number, { responseType: "int64" });
  same(await asker.messaging.sendRequestToPath(path, 7), 7n);
  await fails(asker.messaging.sendRequestToPath(path, 7.5), "CALLBACK_EXCEPTION", "failed");
});

test("a second handler at a path is a conflict and the first stays", async () => {
  const [asker, answerer] = await openTwo();
  const path = unique("conflict");
  await answerer.messaging.addRequestHandler(path, () => "first");
  const second = answerer.messaging.addRequestHandler(path, () => "second");
  const error = await fails(second, "HANDLER_CONFLICT", "refused");
  same(error.reason, 201);
  same(await asker.messaging.sendRequestToPath(path, 1), "first");
});

test("two sessions can handle the same path", async () => {
  const [one, other] = await openTwo();
  const path = unique("shared");
  await one.messaging.addRequestHandler(path, () => "answer");
  const registration = await other.messaging.addRequestHandler(path, () => "answer");
  same(await one.messaging.sendRequestToPath(path, 1), "answer");
  await registration.close();
  same(await other.messaging.sendRequestToPath(path, 1), "answer");
});

test("a closed registration answers no more and can be closed again", async () => {
  const [asker, answerer] = await openTwo();
  const path = unique("closed");
  const registration = await answerer.messaging.addRequestHandler(path, () => "here");
  same(registration.path, path);
  same(await asker.messaging.sendRequestToPath(path, 1), "here");
  await registration.close();
  await fails(asker.messaging.sendRequestToPath(path, 1), "UNHANDLED_MESSAGE", "refused");
  same(await registration.close(), undefined);
  // The path is free, for this session too.
  await answerer.messaging.addRequestHandler(path, () => "again");
  same(await asker.messaging.sendRequestToPath(path, 1), "again");
});

test("a request delivered before its registration was closed is still answered", async () => {
  const [asker, answerer] = await openTwo();
  const path = unique("closing");
  const { handler, arrived, answer } = gate();
  const registration = await answerer.messaging.addRequestHandler(path, handler);
  const pending = asker.messaging.sendRequestToPath(path, 1);
  await arrived;
  await registration.close();
  answer("last");
  same(await pending, "last");
});

test("requests that follow a registration at once are answered", async () => {
  const { messaging } = await open();
  const path = unique("at-once");
  const added = messaging.addRequestHandler(path, () => "here");
  const asked = messaging.sendRequestToPath(path, 1);
  await added;
  same(await asked, "here");
});

test("a frozen or odd function is a handler", async () => {
  function ordinary() {
    return 1;
  }
  for (const handler of [Object.freeze(() => 1), (() => 1).bind(null), new Proxy(() => 1, {}), ordinary]) {
    await answers({}, handler, 1);
  }
});
