// A configuration that is read again: what it grants and what it takes away holds at once, also for sessions that are open
// (rules A-1; docs/permissions.md).

import assert from "node:assert/strict";
import { after, test } from "node:test";
import { connect } from "antiphon";
import { ABORT, DELIVERY } from "../support/wire.mjs";
import { fails, open, options } from "./support/client.mjs";
import { HASH, startConfigured } from "./support/configured.mjs";
import { connectPeer } from "./support/endpoint.mjs";
import { Roles } from "./support/roles.mjs";

const [SEND, REGISTER] = ["SEND_TO_MESSAGE_HANDLER", "REGISTER_HANDLER"];
const WORKER = { global: [REGISTER], default_path: [SEND] };
const config = (paths, users) => new Roles({ WORKER: { ...WORKER, paths } }).toToml(users, HASH);

const broker = await startConfigured(
  config({}, { ada: ["WORKER"], bob: ["WORKER"], cid: ["CLIENT"], eve: ["CLIENT_CONTROL"] }),
);
after(() => broker.stop());

const denied = { code: "ACCESS_DENIED", reason: 103, outcome: "refused" };
const credentials = "password";

test("A-1 users, roles and permissions that are configured anew hold at once, and who is removed is out", async (t) => {
  const enter = (principal) => open(t, broker, { principal, credentials });
  const [ada, bob, cid] = [await enter("ada"), await enter("bob"), await enter("cid")];
  const eve = await connectPeer(broker, { query: { r: 60_000, username: "eve", password: "AQhwYXNzd29yZA==" } });
  await eve.register("eve");
  await ada.messaging.addRequestHandler("work", () => "done");
  assert.equal(await bob.messaging.sendRequestToPath("work/secret", 1), "done");
  await fails(
    cid.messaging.addRequestHandler("cid", () => {}),
    denied,
  );
  const waiting = fails(bob.messaging.sendRequestToPath("eve", 1), {
    code: "SESSION_CLOSED",
    reason: 101,
    outcome: "unknown",
  });
  await eve.next({ service: DELIVERY });

  broker.reload(config({ "work/secret": [] }, { ada: ["CLIENT"], bob: ["WORKER"], cid: ["WORKER"] }));
  await eve.next({ type: ABORT });
  await Promise.all([eve.closed, waiting]);
  await fails(bob.messaging.sendRequestToPath("work/secret", 1), denied);
  assert.equal(await bob.messaging.sendRequestToPath("work", 1), "done", "what was registered stays");
  await fails(
    ada.messaging.addRequestHandler("more", () => {}),
    denied,
  );
  await cid.messaging.addRequestHandler("cid", () => {});
  assert.deepEqual(await ada.getProperties(["$Roles"]), { $Roles: '"CLIENT"' });

  await assert.rejects(connect(broker.url, { ...options, principal: "eve", credentials }), { code: "ACCESS_DENIED" });
  const back = await connectPeer(broker, { query: { r: 60_000, c: eve.token, cs: 1, ss: 0 } });
  assert.equal(back.code, 117);
  await back.closed;
  assert.equal(await ada.changePrincipal("eve", credentials), false);
});

test("A-1 what cannot be used changes nothing", async (t) => {
  const bob = await open(t, broker, { principal: "bob", credentials });
  await bob.messaging.addRequestHandler("bob", () => "still");
  broker.reload("[[users]]\n");
  while (!/cannot be used/.test(broker.log())) await bob.ping();
  assert.equal(await bob.messaging.sendRequestToPath("bob", 1), "still");
  await open(t, broker, { principal: "bob", credentials });
});
