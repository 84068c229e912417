// Rules W-5 to W-7 at the broker's end: counting sessions, finding handlers and telling of changes, to clients that are
// scripted; and what our client makes of it.

import assert from "node:assert/strict";
import { EventEmitter, once } from "node:events";
import { test } from "node:test";
import {
  COUNT_SESSIONS,
  DISCOVERY,
  ERROR,
  FIND_HANDLERS,
  HANDLERS_CHANGED,
  join,
  RESPONSE,
  Reader,
  readChange,
  readFound,
  string,
  UNWATCH_HANDLERS,
  varint,
  WATCH_HANDLERS,
} from "../../support/wire.mjs";
import { anotherBroker, broker, cutter, loseFor, open as openAt } from "../reconnection/support.mjs";
import { fails, open, unique } from "../support/client.mjs";
import { HASH, startConfigured } from "../support/configured.mjs";
import { connectPeer } from "../support/endpoint.mjs";
import { Roles } from "../support/roles.mjs";
import { ALL, peerWith } from "./support.mjs";

const denied = { code: "ACCESS_DENIED", reason: 103, outcome: "refused" };

/** What there is for a path. */
const find = async (peer, path) => readFound((await peer.ask(FIND_HANDLERS, string(path))).body);

const watch = async (peer, number, path) =>
  readFound((await peer.ask(WATCH_HANDLERS, join(varint(number), string(path)))).body);

const changed = async (peer) => readChange((await peer.next({ service: HANDLERS_CHANGED })).body);

test("W-5 the broker counts the sessions that match, and says where a filter has faults", async (t) => {
  const peer = await peerWith(t, ALL);
  const team = unique("team");
  for (const matching of [0, 1, 2]) {
    const { body } = await peer.ask(COUNT_SESSIONS, string(`team is '${team}'`));
    assert.deepEqual(body, join(Buffer.of(0), varint(matching)));
    await peerWith(t, 0, { properties: { team } });
  }
  const reader = new Reader((await peer.ask(COUNT_SESSIONS, string("nonsense"))).body);
  assert.deepEqual([reader.byte(), reader.count()], [1, 1]);
});

test("W-5 the broker finds the most specific path, and how many handlers there are", async (t) => {
  const [peer, first, second] = [await peerWith(t, ALL), await peerWith(t, 0), await peerWith(t, ALL)];
  const path = unique("find");
  assert.equal(await find(peer, path), undefined);
  await first.register(path);
  await second.register(path);
  assert.deepEqual(await find(peer, `${path}/below`), { path, handlers: 2 });
  await second.register(`${path}/below`);
  assert.deepEqual(await find(peer, `${path}/below/it`), { path: `${path}/below`, handlers: 1 });
  assert.deepEqual(await find(peer, `${path}-beside`), undefined);
  assert.equal((await peer.ask(FIND_HANDLERS, string(""))).reason, 202);
});

test("W-5 a client without the feature is refused", async (t) => {
  for (const features of [0, ALL & ~DISCOVERY]) {
    const peer = await peerWith(t, features);
    for (const [service, body] of [
      [COUNT_SESSIONS, string("all")],
      [FIND_HANDLERS, string("a")],
      [WATCH_HANDLERS, join(varint(1), string("a"))],
      [UNWATCH_HANDLERS, varint(1)],
    ]) {
      assert.equal((await peer.ask(service, body)).reason, 104);
    }
  }
});

test("W-5 it takes the permission to see sessions, or to send there", async (t) => {
  const session = await open(t, broker, { principal: "client", credentials: "password" });
  await fails(session.messaging.countSessions("all"), denied);
  assert.equal(await session.messaging.findHandlers(unique("nobody")), undefined);
  await fails(session.messaging.findHandlers("Diffusion/a"), denied);
  const watching = session.messaging.watchHandlers("Diffusion/a", () => assert.fail("told"));
  await fails(watching, denied);
});

test("W-6 who watches is told of each change, and not of others", async (t) => {
  const [peer, handler] = [await peerWith(t, ALL), await peerWith(t, 0)];
  const path = unique("watch");
  assert.equal(await watch(peer, 7, `${path}/below`), undefined);
  await handler.register(`${path}/beside`);
  await handler.register(path);
  assert.deepEqual(await changed(peer), { watch: 7n, found: { path, handlers: 1 } });
  await handler.register(`${path}/below`);
  assert.deepEqual(await changed(peer), { watch: 7n, found: { path: `${path}/below`, handlers: 1 } });
  await handler.close();
  assert.deepEqual(await changed(peer), { watch: 7n, found: undefined });
  assert.deepEqual((await peer.ask(UNWATCH_HANDLERS, varint(7))).body, Buffer.alloc(0));
  const other = await peerWith(t, ALL);
  await watch(peer, 8, path);
  await other.register(path);
  assert.deepEqual(await changed(peer), { watch: 8n, found: { path, handlers: 1 } });
  assert.equal(peer.take({ service: HANDLERS_CHANGED }), undefined);
});

test("W-6 changes that follow each other are told together", async (t) => {
  const peer = await peerWith(t, ALL);
  const path = unique("together");
  await watch(peer, 1, path);
  const handlers = await Promise.all(Array.from({ length: 20 }, () => peerWith(t, 0)));
  await Promise.all(handlers.map((handler) => handler.register(path)));
  let told = 0;
  for (let count = 0; count < 20; told++) count = (await changed(peer)).found.handlers;
  assert.ok(told < 20, `${told} messages`);
});

/** What a listener was told; `until` waits until it has been told so much. */
function recorder() {
  const [told, changed] = [[], new EventEmitter()];
  return {
    told,
    listener(found) {
      told.push(found);
      changed.emit("change");
    },
    async until(count) {
      while (told.length < count) await once(changed, "change");
    },
  };
}

test("W-6 who may not send there any more is told that there is nobody", async (t) => {
  const { told, listener, until } = recorder();
  const roles = new Roles({ SENDER: { default_path: ["SEND_TO_MESSAGE_HANDLER"] } });
  const users = { sender: ["SENDER"], nobody: [], handler: ["CLIENT_CONTROL"] };
  const configured = await startConfigured(roles.toToml(users, HASH));
  t.after(() => configured.stop());
  const enter = (principal) => open(t, configured, { principal, credentials: "password" });
  const [session, handler] = [await enter("sender"), await enter("handler")];
  await handler.messaging.addRequestHandler("a", () => "answer");
  await session.messaging.watchHandlers("a/b", listener);
  assert.equal(await session.changePrincipal("nobody", "password"), true);
  await until(2);
  assert.deepEqual(told, [{ path: "a", handlers: 1 }, undefined]);
});

test("W-6 a session without a connection is told when it has one again", async (t) => {
  const { told, listener, until } = recorder();
  const between = await cutter(t);
  const [session, handler] = [await openAt(t, between), await peerWith(t, 0)];
  const path = unique("away");
  await session.messaging.watchHandlers(path, listener);
  await loseFor(between, session);
  await handler.register(path);
  between.open();
  await until(2);
  assert.deepEqual(told, [undefined, { path, handlers: 1 }]);
});

test("W-6 a watch ends with a 106", async (t) => {
  const [peer, handler] = [await peerWith(t, ALL), await peerWith(t, 0)];
  const [before, after] = [unique("before"), unique("after")];
  await watch(peer, 1, before);
  const { id, token } = peer;
  await peer.cut();
  // It says that it has received what was never sent.
  const again = await connectPeer(broker, { query: { r: 60_000, antiphon: ALL, c: token, cs: 1, ss: 1000 } });
  t.after(() => again.close());
  assert.deepEqual([again.id, again.code], [id, 106]);
  await watch(again, 2, after);
  await handler.register(before);
  await handler.register(after);
  assert.deepEqual(await changed(again), { watch: 2n, found: { path: after, handlers: 1 } });
  assert.equal(again.take({ service: HANDLERS_CHANGED }), undefined);
});

test("W-7 a session watches so many paths, and one with the same number takes the place of another", async (t) => {
  const few = await anotherBroker(t, "--max-watches", "2");
  const peer = await connectPeer(few, { query: { antiphon: DISCOVERY } });
  t.after(() => peer.close());
  for (const path of ["a", "b"]) await watch(peer, path.charCodeAt(), path);
  const ask = (number, path) => peer.ask(WATCH_HANDLERS, join(varint(number), string(path)));
  const refused = await ask(1, "c");
  assert.deepEqual([refused.type, refused.reason], [ERROR, 112]);
  assert.equal((await ask(97, "c")).type, RESPONSE);
  await peer.register("a");
  await peer.register("c");
  assert.deepEqual(await changed(peer), { watch: 97n, found: { path: "c", handlers: 1 } });
});
