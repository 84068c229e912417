// What the broker says to an operator: on its command line, and in its log.

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { once } from "node:events";
import { test } from "node:test";
import { connect } from "antiphon";
import { broker as binary } from "../../scripts/lib/paths.mjs";
import { startBroker } from "../support/broker.mjs";
import { open, options } from "./support/client.mjs";
import { connectPeer } from "./support/endpoint.mjs";

test("a mistyped option and a port in use are told in one line that says what to do", async (t) => {
  const broker = await startBroker(["--listen", "0"]);
  t.after(() => broker.stop());
  const said = (...args) => spawnSync(binary, args, { encoding: "utf8" }).stderr;
  assert.match(said("--lisen", "1"), /^[^\n]*'--lisen'[^\n]*'--listen'[^\n]*\n$/);
  assert.match(said("--listen", `:${broker.port}`), /^[^\n]*another program listens there[^\n]*ss -ltnp[^\n]*\n$/);
});

test("the log says which sessions open and close and which logins are refused, and no credentials", async (t) => {
  const broker = await startBroker();
  t.after(() => broker.stop());
  await assert.rejects(connect(broker.url, { ...options, principal: "control", credentials: "wr0ng" }));
  const session = await open(t, broker, { principal: "control", credentials: "password" });
  await session.close();
  await broker.stop();
  const log = broker.log();
  assert.match(log, /refused: the principal is unknown or the credentials are wrong principal="control"/);
  assert.match(log, new RegExp(`session opened session=${session.id}`));
  assert.match(log, new RegExp(`session closed: by its client session=${session.id}`));
  assert.ok(!log.includes("wr0ng"));
});

test("the log says why each session ended", async (t) => {
  const broker = await startBroker();
  t.after(() => broker.stop());
  const last = await open(t, broker);
  const says = async (why, { id }) => {
    const line = `session closed: ${why} session=${id}\n`;
    while (!broker.log().includes(line)) await once(broker.process.stderr, "data");
  };
  const peer = (milliseconds) => connectPeer(broker, { query: { r: milliseconds } });

  const brief = await peer(0);
  await brief.cut();
  await says("its connection is lost, and it was not to be kept", brief);

  const late = await peer(50);
  await late.cut();
  await says("its client did not come back in time", late);

  const left = await peer(60_000);
  await left.cut();
  await fetch(new URL("/diffusion/close", broker.httpUrl), { method: "POST", body: left.token });
  await says("by its client, which left without a connection", left);

  const wrong = await peer(60_000);
  wrong.send(Buffer.of(0xff));
  await says("its client sent what no client may send", wrong);

  const other = await peer(60_000);
  await broker.stop();
  await says("the broker stops", other);
  await says("the broker stops", last);
});

test("pages that are refused are in the log, and at level trace every request, but nothing of what is sent", async (t) => {
  const broker = await startBroker(["--log", "trace"]);
  t.after(() => broker.stop());
  const origin = "https://elsewhere.example";
  assert.equal((await fetch(new URL("/diffusion", broker.httpUrl), { headers: { origin } })).status, 403);
  const [asking, answering] = [await open(t, broker), await open(t, broker)];
  await answering.messaging.addRequestHandler("orders", () => "s3cret answer");
  await asking.messaging.sendRequestToPath("orders/eu", "s3cret request");
  await assert.rejects(asking.messaging.sendRequestToPath("nowhere", "s3cret request"));
  await broker.stop();
  const log = broker.log();
  assert.match(log, /INFO .*refused: pages from there may not connect .*elsewhere\.example/);
  assert.match(log, new RegExp(`TRACE .*request sender=${asking.id} .*service="MESSAGING_SEND" path="orders/eu"`));
  assert.match(log, new RegExp(`TRACE .*request forwarded sender=${asking.id} recipient=${answering.id}`));
  assert.match(log, new RegExp(`TRACE .*request answered sender=${asking.id} recipient=${answering.id}`));
  assert.match(log, new RegExp(`DEBUG .*request refused session=${asking.id} .*why="no session handles nowhere"`));
  assert.ok(!log.includes("s3cret"));
});
