// A configuration that is read again: what it grants and what it takes away holds at once, also for sessions that are open
// (rules A-1; docs/permissions.md).

import assert from "node:assert/strict";
import { after, test } from "node:test";
import { connect } from "antiphon";
import { folderWith, Issuer, SECRET_HASH, tokensTable } from "../support/identity.mjs";
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

test("I-7 a session ends when its password or the issuer of its token is not accepted any more, and no other", async (t) => {
  const issuer = new Issuer();
  const tokens = tokensTable(`keys = "${folderWith(t, { "jwks.json": issuer.jwks })("jwks.json")}"`);
  const users = (hashOfAda) =>
    `[[users]]\nname = "ada"\npassword = "${hashOfAda}"\n[[users]]\nname = "bob"\npassword = "${HASH}"\n`;
  const broker = await startConfigured(users(HASH) + tokens);
  t.after(() => broker.stop());
  const enter = (principal, credentials = "password") => open(t, broker, { principal, credentials });
  const token = issuer.token({ sub: "cid" }, { alg: "ES256" });
  const [ada, bob, cid] = [await enter("ada"), await enter("bob"), await enter("cid", token)];

  broker.reload(users(SECRET_HASH) + tokens);
  assert.equal((await ada.closed).code, "CLOSED_BY_SERVER");
  await assert.rejects(enter("ada"), { code: "ACCESS_DENIED" }, "by the old password");
  await enter("ada", "secret");
  await Promise.all([bob.ping(), cid.ping()]);

  broker.reload(users(SECRET_HASH));
  assert.equal((await cid.closed).code, "CLOSED_BY_SERVER");
  await assert.rejects(enter("cid", token), { code: "ACCESS_DENIED" });
  await bob.ping();
  assert.match(broker.log(), /session closed: what it logged in with is not accepted any more/);
});

test("A-1 what cannot be used changes nothing", async (t) => {
  const bob = await open(t, broker, { principal: "bob", credentials });
  await bob.messaging.addRequestHandler("bob", () => "still");
  broker.reload("[[users]]\n");
  while (!/cannot be used/.test(broker.log())) await bob.ping();
  assert.equal(await bob.messaging.sendRequestToPath("bob", 1), "still");
  await open(t, broker, { principal: "bob", credentials });
});
