// Rules M-1 to M-4, M-7 and M-8: whom a request to a path reaches.

import assert from "node:assert/strict";
import { test } from "node:test";
import { DELIVERY } from "../../support/wire.mjs";
import { collect, fails, filterFor, open, openAll, unique } from "../support/client.mjs";
import { broker, closedHandler, peerAt, unhandled } from "./support.mjs";

const invalidPath = { code: "INVALID_PATH", reason: 202, outcome: "refused" };

test("M-1 a request to a path never reaches a stream, an addressed one never a registered handler", async (t) => {
  const [asker, answerer] = await openAll(t, broker, 2);
  const path = unique("worlds");
  const called = [];
  answerer.messaging.addStreamHandler(path, () => called.push("stream"), { addressed: true });
  await fails(asker.messaging.sendRequestToPath(path, null), unhandled);
  await answerer.messaging.addRequestHandler(path, () => called.push("handler"));
  await asker.messaging.sendRequestToPath(path, null);
  await asker.messaging.sendRequestToSession(path, answerer.id, null);
  await collect(asker.messaging.gather(filterFor(answerer), path, null));
  assert.deepEqual(called, ["handler", "stream", "stream"]);
  answerer.messaging.addStreamHandler(`${path}/none`, () => called.push("wrong"));
  await fails(asker.messaging.sendRequestToSession(`${path}/none`, answerer.id, null), unhandled);
});

test("M-1 an addressed request says nothing of its sender", async (t) => {
  const [asker, answerer] = await openAll(t, broker, 2);
  answerer.messaging.addStreamHandler("context", (_, context) => ({ ...context, has: "senderSessionId" in context }), {
    addressed: true,
  });
  assert.deepEqual(await asker.messaging.sendRequestToSession("context", answerer.id, {}), {
    path: "context",
    addressed: true,
    sessionProperties: {},
    requestType: "json",
    has: false,
  });
});

test("M-2 one slash at either end does not matter, and the path arrives as it was sent", async (t) => {
  const [asker, answerer] = await openAll(t, broker, 2);
  const path = unique("slashes");
  for (const registered of [path, `/${path}`, `${path}/`, `/${path}/`]) {
    const registration = await answerer.messaging.addRequestHandler(registered, (_, context) => context.path);
    assert.equal(registration.path, registered);
    for (const sent of [path, `/${path}`, `${path}/`, `/${path}/`, `/${path}/below/`]) {
      assert.equal(await asker.messaging.sendRequestToPath(sent, null), sent);
    }
    await registration.close();
    await fails(asker.messaging.sendRequestToPath(path, null), unhandled);
  }
});

test("M-2 what is no path is refused as INVALID_PATH, wherever it goes, and long paths are paths", async (t) => {
  const session = await open(t, broker);
  const { messaging } = session;
  const long = "é".repeat(1024); // 2048 bytes
  for (const path of ["", "/", "//", "a//b", "//a", "a//", "a\0b", "\0", `${long}a`, `/${long}`, "x".repeat(100_000)]) {
    await fails(messaging.sendRequestToPath(path, 1), invalidPath);
    await fails(messaging.sendRequestToSession(path, session.id, 1), invalidPath);
    await fails(messaging.sendRequestToFilter("all", path, 1), invalidPath);
    await fails(
      messaging.addRequestHandler(path, () => 1),
      invalidPath,
    );
  }
  await messaging.addRequestHandler(long, () => "long");
  assert.equal(await messaging.sendRequestToPath(long, 1), "long");
});

test("M-2 paths are compared by their characters and nothing else", async (t) => {
  const session = await open(t, broker);
  const root = unique("exact");
  const paths = ["a", "A", "%61", "é", "e\u0301", " ", "a ", ".", "..", "*", "?a=b", "#", "💡", "a\tb\nc", "$SYS"];
  for (const path of paths) await session.messaging.addRequestHandler(`${root}/${path}`, () => path);
  for (const path of paths) assert.equal(await session.messaging.sendRequestToPath(`${root}/${path}`, 1), path);
});

test("M-3 the longest registered path that is the path or a parent of it is chosen", async (t) => {
  const [asker, ...answerers] = await openAll(t, broker, 4);
  const root = unique("longest");
  const registered = [root, `${root}/a`, `${root}/a/b/c`];
  for (const [index, path] of registered.entries())
    await answerers[index].messaging.addRequestHandler(path, () => path);
  const expected = {
    "": root,
    "/a": `${root}/a`,
    "/ab": root,
    "/a/b": `${root}/a`,
    "/a/b/cd": `${root}/a`,
    "/a/b/c": `${root}/a/b/c`,
    "/a/b/c/d/e": `${root}/a/b/c`,
  };
  for (const [below, answer] of Object.entries(expected)) {
    assert.equal(await asker.messaging.sendRequestToPath(root + below, null), answer);
  }
  await fails(asker.messaging.sendRequestToPath(`${root}x`, null), unhandled);
});

test("M-3 of several sessions at the same path any one is chosen, and exactly one is asked", async (t) => {
  const [asker, ...answerers] = await openAll(t, broker, 4);
  const path = unique("any");
  let calls = 0;
  for (const { id, messaging } of answerers) {
    await messaging.addRequestHandler(path, () => {
      calls += 1;
      return id;
    });
  }
  const answers = await Promise.all(Array.from({ length: 300 }, () => asker.messaging.sendRequestToPath(path, null)));
  assert.equal(calls, 300);
  assert.deepEqual(new Set(answers), new Set(answerers.map(({ id }) => id)));
});

test("M-4 among equals those with fewer unanswered requests are preferred", async (t) => {
  const [asker, prompt] = await openAll(t, broker, 2);
  const stuck = await peerAt(t, broker);
  const path = unique("equals");
  await stuck.register(path);
  await prompt.messaging.addRequestHandler(path, () => "prompt");
  const answered = [];
  for (let count = 0; count < 400; count += 1) {
    asker.messaging.sendRequestToPath(path, null).then(
      () => answered.push(count),
      () => {}, // those of the stuck one, in the end
    );
    // What was sent before is done with when a ping is answered: chosen for, delivered, answered, passed on.
    for (const session of [asker, prompt, asker]) await session.ping();
  }
  // Two drawn at random, the less busy one taken: three quarters. Evenly it would be half.
  assert.ok(answered.length > 250, `${answered.length} of 400`);
});

test("M-4 a request whose recipient goes away fails and is not sent to another", async (t) => {
  const [asker, other] = await openAll(t, broker, 2);
  const path = unique("gone");
  const leaving = await peerAt(t, broker);
  await leaving.register(path);
  const sent = fails(asker.messaging.sendRequestToPath(path, null), closedHandler);
  await leaving.next({ service: DELIVERY });
  let calls = 0;
  await other.messaging.addRequestHandler(path, () => {
    calls += 1;
    return calls;
  });
  await leaving.cut();
  await sent;
  assert.equal(await asker.messaging.sendRequestToPath(path, null), 1);
});

test("M-4 the sender itself can be the handler", async (t) => {
  const session = await open(t, broker);
  const path = unique("self");
  await session.messaging.addRequestHandler(path, (_, { senderSessionId }) => senderSessionId);
  assert.equal(await session.messaging.sendRequestToPath(path, null), session.id);
});

test("M-7 the properties that come with a request are those of its sender, at their values now", async (t) => {
  const answerer = await open(t, broker, { properties: { team: "of the recipient" } });
  const path = unique("properties");
  await answerer.messaging.addRequestHandler(path, (_, { sessionProperties }) => sessionProperties, {
    sessionProperties: ["team", "$Principal"],
  });
  const asker = await open(t, broker, { properties: { team: "blue", other: "x" } });
  assert.deepEqual(await asker.messaging.sendRequestToPath(path, {}), { team: "blue", $Principal: "" });
  await asker.changePrincipal("client", "password");
  assert.deepEqual(await asker.messaging.sendRequestToPath(path, {}), { team: "blue", $Principal: "client" });
});

test("M-8 a handler answers for everything below its path", async (t) => {
  const [asker, answerer] = await openAll(t, broker, 2);
  const path = unique("descendants");
  await answerer.messaging.addRequestHandler(path, (_, context) => context.path);
  for (const below of ["", "/a", "/a/b", `/${"x/".repeat(900)}x`]) {
    assert.equal(await asker.messaging.sendRequestToPath(path + below, null), path + below);
  }
});
