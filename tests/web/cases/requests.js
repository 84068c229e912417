// Asking and answering, timeouts, aborting.

import { fails, gate, ok, open, openTwo, rejection, same, test, unique } from "../support.js";

test("a handler in another session answers", async () => {
  const [asker, answerer] = await openTwo();
  const path = unique("greet");
  await answerer.messaging.addRequestHandler(path, (name) => `Hello, ${name}!`);
  same(await asker.messaging.sendRequestToPath(path, "Ada"), "Hello, Ada!");
});

test("a handler in the same session answers", async () => {
  const { messaging } = await open();
  const path = unique("greet");
  await messaging.addRequestHandler(path, (name) => `Hello, ${name}!`);
  same(await messaging.sendRequestToPath(path, "Ada"), "Hello, Ada!");
});

test("a handler that returns a promise answers with what it resolves to", async () => {
  const [asker, answerer] = await openTwo();
  const path = unique("later");
  await answerer.messaging.addRequestHandler(path, async (number) => {
    await null;
    return number + 1;
  });
  same(await asker.messaging.sendRequestToPath(path, 41), 42);
});

test("an object with a function handle answers", async () => {
  const [asker, answerer] = await openTwo();
  const path = unique("object");
  await answerer.messaging.addRequestHandler(path, {
    word: "yes",
    handle(event, { request, path }) {
      return [this.word, event, request, path];
    },
  });
  same(await asker.messaging.sendRequestToPath(path, [1]), ["yes", "request", [1], path]);
});

test("a handler answers below its path and learns the path sent", async () => {
  const [asker, answerer] = await openTwo();
  const path = unique("prices");
  await answerer.messaging.addRequestHandler(path, (_, context) => context.path);
  same(await asker.messaging.sendRequestToPath(`${path}/eu/17`, 1), `${path}/eu/17`);
  await fails(asker.messaging.sendRequestToPath(`${path}x`, 1), "UNHANDLED_MESSAGE", "refused");
});

test("of two handlers the one with the more specific path answers", async () => {
  const [asker, answerer] = await openTwo();
  const path = unique("prices");
  await answerer.messaging.addRequestHandler(path, () => "far");
  await answerer.messaging.addRequestHandler(`${path}/eu`, () => "near");
  same(await asker.messaging.sendRequestToPath(`${path}/eu/17`, 1), "near");
  same(await asker.messaging.sendRequestToPath(`${path}/us/17`, 1), "far");
});

test("a handler learns who asks and with what type", async () => {
  const [asker, answerer] = await openTwo();
  const path = unique("context");
  await answerer.messaging.addRequestHandler(
    path,
    (_, { addressed, senderSessionId, requestType, sessionProperties, signal }) => ({
      addressed,
      senderSessionId,
      requestType,
      sessionProperties,
      aborted: signal.aborted,
    }),
  );
  same(await asker.messaging.sendRequestToPath(path, {}), {
    addressed: false,
    senderSessionId: asker.id,
    requestType: "json",
    sessionProperties: {},
    aborted: false,
  });
});

test("a handler is given the session properties of the sender that it asked for", async () => {
  const answerer = await open();
  const path = unique("properties");
  await answerer.messaging.addRequestHandler(path, (_, { sessionProperties }) => sessionProperties, {
    sessionProperties: ["$Principal", "team", "none"],
  });
  const properties = { team: "blue", floor: "3" };
  const asker = await open({ principal: "control", credentials: "password", properties });
  same(await asker.messaging.sendRequestToPath(path, {}), { $Principal: "control", team: "blue" });
});

test("answers arrive in the order in which handlers finish", async () => {
  const [asker, answerer] = await openTwo();
  const path = unique("order");
  // The first request is answered once the second has come.
  let release;
  await answerer.messaging.addRequestHandler(path, (name) => {
    if (name === "second") {
      release();
      return name;
    }
    return new Promise((resolve) => {
      release = () => resolve(name);
    });
  });
  const done = [];
  const ask = (name) => asker.messaging.sendRequestToPath(path, name).then((answer) => done.push(answer));
  await Promise.all([ask("first"), ask("second")]);
  same(done, ["second", "first"]);
});

test("a request that nobody handles is refused with an error that says so", async () => {
  const { messaging } = await open();
  const path = unique("nobody");
  const error = await fails(messaging.sendRequestToPath(path, 1), "UNHANDLED_MESSAGE", "refused");
  same([error.reason, error.name], [109, "MessagingError"]);
  ok(error.message.includes(path), error.message);
});

test("the stack of an error shows the line that called", async () => {
  const { messaging } = await open();
  const path = unique("nobody");
  function theCaller() {
    const sent = messaging.sendRequestToPath(path, 1);
    return sent; // by itself, since some engines forget a function whose last act is a call
  }
  const { stack } = await rejection(theCaller());
  ok(stack.includes("theCaller"), `no caller in the stack: ${stack}`);
  // Only some engines begin it with the error itself.
  if (new Error("what").stack.startsWith("Error: what")) ok(stack.startsWith("MessagingError: "), stack);
});

test("a handler that never answers costs the sender its own timeout and no less", async () => {
  const [asker, answerer] = await openTwo();
  const path = unique("never");
  await answerer.messaging.addRequestHandler(path, (request) =>
    request === "answer" ? "here" : new Promise(() => {}),
  );
  const start = performance.now();
  await fails(asker.messaging.sendRequestToPath(path, "never", { timeout: 50 }), "TIMED_OUT", "unknown");
  const elapsed = performance.now() - start;
  ok(elapsed >= 50, `${elapsed} ms`);
  same(await asker.messaging.sendRequestToPath(path, "answer"), "here");
});

test("no deadline passes early when many are set", async () => {
  const [asker, answerer] = await openTwo();
  const path = unique("never");
  await answerer.messaging.addRequestHandler(path, () => new Promise(() => {}));
  await Promise.all(
    Array.from({ length: 100 }, async (_, index) => {
      const timeout = 100 - index + index / 7;
      const start = performance.now();
      await fails(asker.messaging.sendRequestToPath(path, index, { timeout }), "TIMED_OUT", "unknown");
      const elapsed = performance.now() - start;
      const rounding = 1e-6; // of the two times of the clock, which are large numbers
      ok(elapsed >= timeout - rounding, `a deadline of ${timeout} ms passed after ${elapsed} ms`);
    }),
  );
});

test("an answer after the deadline goes to nobody", async () => {
  const [asker, answerer] = await openTwo();
  const [slow, fast] = [unique("slow"), unique("fast")];
  const { handler, answer } = gate();
  await answerer.messaging.addRequestHandler(slow, handler);
  await answerer.messaging.addRequestHandler(fast, (request) => request);
  await fails(asker.messaging.sendRequestToPath(slow, 1, { timeout: 10 }), "TIMED_OUT", "unknown");
  answer("too late");
  // The answer is on its way before this one.
  same(await asker.messaging.sendRequestToPath(fast, "next"), "next");
});

test("a request without a timeout has that of the session", async () => {
  const answerer = await open();
  const path = unique("never");
  await answerer.messaging.addRequestHandler(path, () => new Promise(() => {}));
  const asker = await open({ principal: "control", credentials: "password", requestTimeout: 20 });
  await fails(asker.messaging.sendRequestToPath(path, 1), "TIMED_OUT", "unknown");
});

test("a signal aborted before the call rejects with its reason and nothing is sent", async () => {
  const [asker, answerer] = await openTwo();
  const path = unique("abort");
  let calls = 0;
  await answerer.messaging.addRequestHandler(path, () => ++calls);
  const reason = { why: "changed my mind" };
  const aborted = asker.messaging.sendRequestToPath(path, 1, { signal: AbortSignal.abort(reason) });
  ok((await rejection(aborted)) === reason, "rejects with another reason");
  const { name } = await rejection(asker.messaging.sendRequestToPath(path, 1, { signal: AbortSignal.abort() }));
  same(name, "AbortError");
  same(await asker.messaging.sendRequestToPath(path, 1), 1);
});

test("a signal aborted while waiting rejects in the same turn with its reason", async () => {
  const [asker, answerer] = await openTwo();
  const path = unique("abort");
  const { handler, arrived } = gate();
  await answerer.messaging.addRequestHandler(path, handler);
  const reason = new Error("enough");
  const controller = new AbortController();
  let caught;
  asker.messaging.sendRequestToPath(path, "first", { signal: controller.signal }).catch((error) => {
    caught = error;
  });
  await arrived;
  controller.abort(reason);
  await Promise.resolve();
  ok(caught === reason, `${caught} was caught`);
});

test("the answer to an aborted request goes to nobody", async () => {
  const [asker, answerer] = await openTwo();
  const [slow, fast] = [unique("slow"), unique("fast")];
  const { handler, arrived, answer } = gate();
  await answerer.messaging.addRequestHandler(slow, handler);
  await answerer.messaging.addRequestHandler(fast, (request) => request);
  const controller = new AbortController();
  const aborted = rejection(asker.messaging.sendRequestToPath(slow, 1, { signal: controller.signal }));
  await arrived;
  controller.abort("enough");
  same(await aborted, "enough");
  answer("too late");
  // The answer is on its way before this one.
  same(await asker.messaging.sendRequestToPath(fast, "next"), "next");
});

test("a signal aborted after the answer changes nothing", async () => {
  const [asker, answerer] = await openTwo();
  const path = unique("abort");
  await answerer.messaging.addRequestHandler(path, (request) => request);
  const controller = new AbortController();
  same(await asker.messaging.sendRequestToPath(path, 1, { signal: controller.signal }), 1);
  controller.abort();
  same(await asker.messaging.sendRequestToPath(path, 2), 2);
});

test("one signal aborts all the requests that it was given to", async () => {
  const [asker, answerer] = await openTwo();
  const path = unique("abort");
  await answerer.messaging.addRequestHandler(path, () => new Promise(() => {}));
  const controller = new AbortController();
  const { signal } = controller;
  const all = Array.from({ length: 50 }, (_, number) => asker.messaging.sendRequestToPath(path, number, { signal }));
  controller.abort("all of you");
  for (const { status, reason } of await Promise.allSettled(all)) same([status, reason], ["rejected", "all of you"]);
});

test("a thousand requests at once each get their own answer", async () => {
  const [asker, answerer] = await openTwo();
  const path = unique("many");
  await answerer.messaging.addRequestHandler(path, async (number) => {
    if (number % 3 === 0) await null;
    return -number;
  });
  const numbers = Array.from({ length: 1000 }, (_, index) => index + 1);
  const answers = await Promise.all(numbers.map((number) => asker.messaging.sendRequestToPath(path, number)));
  same(
    answers,
    numbers.map((number) => -number),
  );
});
