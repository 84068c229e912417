// Requests to a session and to a session filter, and the functions that answer and collect.

import { deferred, fails, ok, open, openTwo, same, test, thrown, unique } from "../support.js";

test("a request to a session is answered by its stream for exactly this path", async () => {
  const [asker, answerer] = await openTwo();
  const path = unique("stream");
  const handler = (request, context) => ({ request, ...context });
  const registration = answerer.messaging.addStreamHandler(path, handler, { addressed: true });
  const ask = (path) => asker.messaging.sendRequestToSession(path, answerer.id, "Ada");

  const context = { path, addressed: true, sessionProperties: {}, requestType: "string" };
  same(await ask(path), { request: "Ada", ...context });
  await fails(ask(`${path}/below`), "UNHANDLED_MESSAGE", "refused");
  await fails(asker.messaging.sendRequestToPath(path, 1), "UNHANDLED_MESSAGE", "refused");

  await registration.close();
  await fails(ask(path), "UNHANDLED_MESSAGE", "refused");
});

test("a session that is not there and an id that is none are told apart", async () => {
  const { messaging } = await open();
  const path = unique("nobody");
  await fails(messaging.sendRequestToSession(path, "ab-CD", 1), "NO_SUCH_SESSION", "refused");
  for (const id of ["", "12", "g-1", "1-1-1", 5, undefined]) {
    await fails(messaging.sendRequestToSession(path, id, 1), "INVALID_ARGUMENT", "not-sent", String(id));
  }
});

/** A filter that only two sessions match, of which the second has a stream at the path. */
async function openPair(path) {
  const options = { principal: "control", credentials: "password", properties: { test: path } };
  const [asker, answerer] = [await open(options), await open(options)];
  answerer.messaging.addStreamHandler(path, (request) => [request], { addressed: true });
  return { asker, answerer, filter: `test is '${path}'` };
}

test("a filter gives the count first and then one response or error from each", async () => {
  const path = unique("filter");
  const { asker, answerer, filter } = await openPair(path);
  const all = deferred();
  const told = [];
  const onResponse = (response) => {
    told.push(response);
    if (response.received === response.expected) all.resolve();
  };
  const sent = asker.messaging.sendRequestToFilter(filter, path, 1n, { onResponse });
  sent.then((count) => told.push(count));
  await all.promise;
  same(told.shift(), 2);
  same(
    told.map(({ received }) => received),
    [1, 2],
  );
  const seen = (session) => {
    const { sessionId, value, error, expected, filter, path } = told.find(({ sessionId }) => sessionId === session.id);
    return [sessionId, value, error?.code, error?.outcome, expected, filter, path];
  };
  same(seen(answerer), [answerer.id, [1n], undefined, undefined, 2, filter, path]);
  same(seen(asker), [asker.id, undefined, "UNHANDLED_MESSAGE", "refused", 2, filter, path]);
});

test("responses go to the handler of their filter unless the call has its own", async () => {
  const path = unique("handlers");
  const { asker, filter } = await openPair(path);
  const { messaging } = asker;
  const told = [];
  let answered;
  const handler = {
    handle(event, { value, received, expected }) {
      told.push(event, value);
      if (received === expected) answered.resolve();
    },
  };
  const first = messaging.addFilterResponseHandler(filter, () => told.push("replaced"));
  const second = messaging.addFilterResponseHandler(filter, handler);
  first.close(); // it is not its own any more
  const own = [];
  const onResponse = {
    handle(event, response) {
      own.push(event);
      handler.handle("own", response);
    },
  };
  for (const options of [{}, { onResponse }]) {
    answered = deferred();
    await messaging.sendRequestToFilter(filter, path, "x", options);
    await answered.promise;
  }
  second.close();
  await messaging.sendRequestToFilter(filter, path, "x");
  await asker.ping();
  const times = (name) => told.filter((it) => it === name).length;
  same([times("own"), times("response"), times("replaced")], [2, 1, 0]);
  same(own.sort(), ["error", "response"]);
});

test("a filter that does not parse rejects with the places", async () => {
  const { messaging } = await open();
  const sent = messaging.sendRequestToFilter("$Principal is alice", unique("bad"), 1);
  const error = await fails(sent, "INVALID_FILTER", "refused");
  same(
    error.errors.map(({ line, column }) => [line, column]),
    [[1, 14]],
  );
  ok(error.message.includes("1:14"), error.message);
});

test("aborting and closing end what a filter was sent", async () => {
  const path = unique("end");
  const { asker, answerer, filter } = await openPair(path);
  const { messaging } = asker;
  answerer.messaging.addStreamHandler(path, () => new Promise(() => {}), { addressed: true });
  const stop = new AbortController();
  const told = [];
  const options = { signal: stop.signal, onResponse: ({ error }) => told.push(error?.code) };
  const count = await messaging.sendRequestToFilter(filter, path, 1, options);
  // The first one overtakes the answer of this session.
  await asker.ping();
  await asker.ping();
  stop.abort();
  const never = messaging.sendRequestToFilter(filter, path, 1, options).catch((error) => error === stop.signal.reason);
  const late = messaging.sendRequestToFilter(filter, path, 1, { timeout: 0 }).catch(({ code }) => code);
  const outstanding = fails(messaging.sendRequestToFilter(filter, path, 1), "SESSION_CLOSED", "unknown");
  asker.close();
  same([count, told, await never, await late], [2, ["UNHANDLED_MESSAGE"], true, "SESSION_CLOSED"]);
  await outstanding;
});

test("what cannot be called or comes too late is refused", async () => {
  const session = await open();
  const { messaging } = session;
  const path = unique("refused");
  const f = () => 1;
  for (const list of [
    [path, 5],
    [path, {}],
    [path, f, { addressed: "yes" }],
    [path, f, 5],
    [5, f],
  ]) {
    const error = thrown(() => messaging.addStreamHandler(...list));
    same([error.code, error.outcome], ["INVALID_ARGUMENT", "not-sent"]);
  }
  const notCallable = messaging.sendRequestToFilter("all", path, 1, { onResponse: 5 });
  await fails(notCallable, "INVALID_ARGUMENT", "not-sent");
  await session.close();
  const error = thrown(() => messaging.addFilterResponseHandler("all", f));
  same([error.code, error.outcome], ["SESSION_CLOSED", "not-sent"]);
  await fails(messaging.sendRequestToSession(path, "1-1", 1), "SESSION_CLOSED", "not-sent");
});

test("no more requests are answered at once than a handler allows and the others wait in order", async () => {
  const [asker, answerer] = await openTwo();
  const path = unique("turns");
  const release = [];
  const order = [];
  let running = 0;
  let most = 0;
  const handler = async (request) => {
    running += 1;
    most = Math.max(most, running);
    order.push(request);
    await new Promise((resolve) => {
      release.push(resolve);
    });
    running -= 1;
    return request;
  };
  await answerer.messaging.addRequestHandler(path, handler, { maxConcurrent: 2, maxQueued: 4 });
  const numbers = [0, 1, 2, 3, 4, 5];
  const sent = numbers.map((number) => asker.messaging.sendRequestToPath(path, number));
  for (const number of numbers) {
    // Whoever asked after them has arrived: messages keep their order.
    await asker.ping();
    await answerer.ping();
    release.shift()();
    same(await sent[number], number);
  }
  same([most, order], [2, numbers]);
});
