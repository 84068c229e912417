// How many connections there may be, and for whom a proxy connects.

import assert from "node:assert/strict";
import { once } from "node:events";
import { test } from "node:test";
import { startAuthority } from "../../support/authority.mjs";
import { startBroker } from "../../support/broker.mjs";
import { openRaw, openSession, statusOf, upgrade, upgradeStatus } from "../../support/raw.mjs";
import { unique } from "../support/client.mjs";

async function start(t, ...args) {
  const broker = await startBroker(args);
  t.after(() => broker.stop());
  return broker;
}

/** Opens `count` WebSockets, and resolves with their connections. */
const openMany = (count, options) => Promise.all(Array.from({ length: count }, () => openSession(options)));

test("N-4: an address has as many connections as it may have, and a place that is given back is free", async (t) => {
  const broker = await start(t, "--max-connections-per-address", "3");
  const held = await openMany(3, broker);
  assert.equal(await upgradeStatus(broker), 429);
  const elsewhere = await openSession({ ...broker, localAddress: "127.0.0.2" });
  held[0].close();
  let status;
  while (status !== 101) status = await upgradeStatus(broker);
  for (const session of [...held, elsewhere]) session.close();
});

test("N-4: an address opens connections as fast as it may, after ten seconds' worth at once", async (t) => {
  const broker = await start(t, "--connection-rate", "2");
  const statuses = [];
  for (let n = 0; n < 40; n++) statuses.push(await upgradeStatus(broker));
  const opened = statuses.filter((status) => status === 101).length;
  assert.ok(opened >= 20 && opened <= 30, `${opened} of 40`);
  assert.ok(statuses.every((status) => [101, 429].includes(status)));
  assert.equal(await upgradeStatus({ ...broker, localAddress: "127.0.0.3" }), 101);
});

test("N-4: when there are as many connections as there may be, further ones are told so, and none waits", async (t) => {
  const broker = await start(t, "--max-connections", "5");
  const held = await openMany(5, broker);
  assert.equal(await upgradeStatus(broker), 503);
  // A crowd is not told, but closed.
  const crowd = await Promise.all(Array.from({ length: 300 }, () => openRaw(broker)));
  await Promise.all(crowd.map((raw) => raw.closed));
  for (const session of held) session.close();
  let status;
  while (status !== 101) status = await upgradeStatus(broker);
});

test("N-4: what is asked from this machine is not counted, unless a limit is chosen", async (t) => {
  const broker = await start(t);
  const held = await openMany(1100, broker);
  assert.equal(await upgradeStatus(broker), 101);
  for (const session of held) session.close();
});

const V2 = Buffer.from("0d0a0d0a000d0a515549540a2111000cc00002010a00000104d201bb", "hex"); // 192.0.2.1

test("N-6: a trusted proxy is believed about for whom it connects, and nobody else is", async (t) => {
  const trusting = await start(t, "--trusted-proxies", "127.0.0.0/30", "--trusted-proxies", "10.0.0.0/8");
  const distrusting = await start(t);
  /** The address that a broker takes a client for, which it logs. */
  const seen = async (broker, { before = "", headers = [], localAddress = "127.0.0.1" }) => {
    const principal = unique("nobody");
    const target = `/diffusion?ty=WB&v=25&ca=8&r=0&username=${principal}&password=AQF4`;
    const raw = await openRaw({ ...broker, localAddress });
    raw.send(Buffer.concat([Buffer.from(before), Buffer.from(upgrade(target, headers))]));
    await raw.until((bytes) => bytes.includes("\r\n\r\n")).catch(() => {});
    raw.close();
    if (statusOf(raw.received()) !== 101) return statusOf(raw.received());
    const line = await broker.logged(new RegExp(principal));
    return /client="?([0-9a-f.:]+)/.exec(line)?.[1] ?? line;
  };
  const forwarded = (value) => ({ headers: [`X-Forwarded-For: ${value}`] });
  assert.equal(await seen(trusting, {}), "127.0.0.1");
  assert.equal(await seen(trusting, forwarded("192.0.2.1")), "192.0.2.1");
  assert.equal(await seen(trusting, forwarded("198.51.100.7, 192.0.2.1, 10.1.1.1")), "192.0.2.1");
  assert.equal(await seen(trusting, forwarded("nonsense")), "127.0.0.1");
  assert.equal(await seen(trusting, { ...forwarded("192.0.2.1"), localAddress: "127.0.0.9" }), "127.0.0.9");
  assert.equal(await seen(distrusting, forwarded("192.0.2.1")), "127.0.0.1");

  assert.equal(await seen(trusting, { before: "PROXY TCP4 192.0.2.1 10.0.0.1 1234 443\r\n" }), "192.0.2.1");
  assert.equal(await seen(trusting, { before: "PROXY TCP6 2001:db8::7 ::1 1234 443\r\n" }), "2001:db8::7");
  assert.equal(await seen(trusting, { before: V2 }), "192.0.2.1");
  assert.equal(await seen(trusting, { before: V2, ...forwarded("198.51.100.7") }), "192.0.2.1", "of no proxy");
  assert.equal(await seen(trusting, { before: "PROXY UNKNOWN\r\n" }), "127.0.0.1");
  assert.equal(await seen(trusting, { before: "PROXY TCP4 nonsense\r\n" }), undefined);
  assert.equal(await seen(trusting, { before: V2, localAddress: "127.0.0.9" }), 400);
  assert.equal(await seen(distrusting, { before: V2 }), 400);
});

test("N-4, N-6: behind a proxy, connections are counted by client", async (t) => {
  const broker = await start(t, "--trusted-proxies", "127.0.0.1", "--max-connections-per-address", "2");
  const from = (address) => [undefined, [`X-Forwarded-For: ${address}`]];
  const held = [await openSession(broker, ...from("192.0.2.1")), await openSession(broker, ...from("192.0.2.1"))];
  assert.equal(await upgradeStatus(broker, ...from("192.0.2.1")), 429);
  for (let n = 2; n < 9; n++) held.push(await openSession(broker, ...from(`192.0.2.${n}`)));
  for (const session of held) session.close();
});

test("N-6: the PROXY protocol goes before TLS", async (t) => {
  const identity = startAuthority(t).issue();
  const broker = await start(t, "--trusted-proxies", "127.0.0.1", ...identity.args);
  const { connect } = await import("node:tls");
  for (const header of [V2, Buffer.from("PROXY TCP4 192.0.2.1 10.0.0.1 1234 443\r\n")]) {
    const raw = await openRaw(broker);
    raw.send(header);
    const socket = connect({ socket: raw.socket, rejectUnauthorized: false, servername: "localhost" });
    await once(socket, "secureConnect");
    socket.write(upgrade());
    const [answer] = await once(socket, "data");
    assert.equal(statusOf(answer), 101);
    socket.destroy();
  }
});
