// Services by name and number, and invoking them with bytes.

import assert from "node:assert/strict";
import { test } from "node:test";
import { join, text } from "../../support/wire.mjs";
import { fails, open, unique } from "../support/client.mjs";
import { broker, invalid } from "./support.mjs";

test("services are found by name, by number and in turn, and are always the same", async (t) => {
  const session = await open(t, broker);
  const { services } = session.messaging;
  assert.equal(session.services, services);
  assert.equal(session.messaging.services, services);
  const all = [...services];
  assert.ok(all.length >= 10);
  for (const service of all) {
    assert.equal(services[service.name], service);
    assert.equal(services.get(service.name), service);
    assert.equal(services.get(service.id), service);
  }
  assert.deepEqual([services.MESSAGING_SEND.id, services.get(56).name], [85, "USER_PING"]);
  for (const unknown of [
    "",
    "NONE",
    "messaging_send",
    "get",
    "constructor",
    "__proto__",
    "85",
    -1,
    0,
    1e9,
    undefined,
  ]) {
    assert.equal(services.get(unknown), undefined);
  }
  assert.equal(services.NONE, undefined);
});

test("a service is invoked with bytes, and answers with bytes", async (t) => {
  const session = await open(t, broker);
  const { services } = session;
  const path = unique("invoked");
  await session.messaging.addRequestHandler(path, (request) => request);
  const body = join(Buffer.from([path.length]), Buffer.from(path), text("hello"));
  const answer = await services.MESSAGING_SEND.invoke(new Uint8Array(body));
  assert.ok(answer instanceof Uint8Array);
  assert.deepEqual(Buffer.from(answer), text("hello"));
  const { invoke } = services.USER_PING;
  assert.equal((await invoke(new Uint8Array())).length, 0);
  for (const bad of [undefined, null, "text", [1], {}, 7]) await fails(services.USER_PING.invoke(bad), invalid);
});

test("a service that the broker does not offer is UNSUPPORTED, and the session goes on", async (t) => {
  const session = await open(t, broker);
  const unsupported = { code: "UNSUPPORTED", reason: 104, outcome: "refused" };
  await fails(session.services.SYSTEM_PING.invoke(new Uint8Array()), unsupported);
  assert.ok((await session.ping()) >= 0);
});
