// TLS: V25, and that everything works over it as it does without.

import assert from "node:assert/strict";
import { test } from "node:test";
import { connect } from "antiphon";
import { WebSocket } from "ws";
import { KEYS, startAuthority } from "../../support/authority.mjs";
import { startBroker } from "../../support/broker.mjs";
import { ask, openRaw, openSession } from "../../support/raw.mjs";
import { options, unique } from "../support/client.mjs";

/** A broker with a certificate, and what clients need to trust it. */
async function start(t, args = [], kind = "ec") {
  const authority = startAuthority(t);
  const identity = authority.issue(kind);
  const broker = await startBroker([...identity.args, ...args]);
  t.after(() => broker.stop());
  const webSocket = class extends WebSocket {
    constructor(url) {
      super(url, { ca: authority.ca });
    }
  };
  return {
    broker,
    identity,
    authority,
    options: { ...options, webSocket },
    raw: { port: broker.port, ca: authority.ca },
  };
}

test("N-5, V25: TLS 1.2 and 1.3 are spoken, and nothing older, with keys of all kinds", async (t) => {
  for (const kind of Object.keys(KEYS)) {
    const { broker, raw } = await start(t, [], kind);
    assert.match(broker.url, /^wss:\/\/127\.0\.0\.1:\d+\/diffusion$/);
    for (const version of ["TLSv1.2", "TLSv1.3"]) {
      const session = await openSession({ ...raw, minVersion: version, maxVersion: version });
      assert.equal(session.socket.getProtocol(), version, kind);
      session.close();
    }
    const old = await openRaw({ ...raw, minVersion: "TLSv1", maxVersion: "TLSv1.1", ciphers: "DEFAULT@SECLEVEL=0" });
    await old.closed;
    assert.ok(old.error(), "TLS 1.1");
  }
});

test("N-5 over TLS, browsers are told to use nothing else for this host, unless it is theirs or that is not wanted", async (t) => {
  const told = async (raw, host) => {
    const { text } = await ask(raw, `GET / HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`);
    return /^strict-transport-security: (.*)\r$/im.exec(text)?.[1];
  };
  const { raw } = await start(t);
  for (const host of ["broker.example", "broker.example:8443", "192.0.2.1"])
    assert.equal(await told(raw, host), "max-age=31536000", host);
  for (const host of ["localhost", "localhost:8443", "shop.localhost", "127.0.0.1:8443", "[::1]"])
    assert.equal(await told(raw, host), undefined, host);
  const { raw: short } = await start(t, ["--tls-hsts", "1h"]);
  assert.equal(await told(short, "broker.example"), "max-age=3600");
  const { raw: without } = await start(t, ["--tls-hsts", "0s"]);
  assert.equal(await told(without, "broker.example"), undefined);
});

test("requests and responses of all sizes pass over TLS in both directions, and the page as well", async (t) => {
  const { broker, options, raw } = await start(t, ["--www", "www"]);
  const [asker, answerer] = [await connect(broker.url, options), await connect(broker.url, options)];
  const path = unique("tls");
  await answerer.messaging.addRequestHandler(path, (request) => request);
  const sizes = [0, 1, 125, 16_383, 16_384, 16_385, 32_768, 65_536, 100_000, 1 << 20, 5 << 20];
  const echoes = sizes.map(async (size) => {
    const sent = Buffer.alloc(size, size & 255);
    const got = await asker.messaging.sendRequestToPath(path, new Uint8Array(sent));
    assert.ok(sent.equals(got), `${size} bytes`);
  });
  await Promise.all(echoes);
  await Promise.all(Array.from({ length: 2000 }, (_, n) => asker.messaging.sendRequestToPath(path, n)));
  await Promise.all([asker.close(), answerer.close()]);
  const { status, text } = await ask(raw, "GET /index.html HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
  assert.equal(status, 200);
  assert.match(text, /<\/html>/);
});

test("a client that reads slowly over TLS gets everything", async (t) => {
  const { broker, options, raw } = await start(t);
  const session = await connect(broker.url, options);
  const slow = await openSession(raw);
  slow.socket.pause();
  const id = slow.frames()[0].payload.subarray(3, 19).toString("hex");
  const requests = Array.from({ length: 100 }, (_, n) =>
    session.messaging.sendRequestToSession(
      "slow",
      `${id.slice(0, 16)}-${id.slice(16)}`,
      new Uint8Array(60_000).fill(n),
    ),
  );
  for (const request of requests) request.catch(() => {});
  await session.ping();
  slow.socket.resume();
  await slow.until(() => slow.frames().filter(({ payload }) => payload.length > 60_000).length === 100);
  slow.close();
  await session.close();
});

test("N-3, V25: a handshake that is never finished, or is none, ends when the time for it is over", async (t) => {
  const { broker } = await start(t, ["--handshake-timeout", "1s"]);
  const begun = performance.now();
  const hello = Buffer.from("160301020001", "hex"); // a record that says it has 512 bytes, and has one
  const odd = [Buffer.alloc(0), hello, Buffer.from("GET / HTTP/1.1\r\n\r\n"), Buffer.alloc(1000, 0xff)];
  const ended = odd.map(async (bytes) => {
    const raw = await openRaw({ port: broker.port });
    raw.send(bytes);
    await raw.closed;
  });
  const endless = await openRaw({ port: broker.port });
  endless.send(hello);
  const timer = setInterval(() => endless.socket.writable && endless.send("a"), 100);
  await Promise.all([...ended, endless.closed]);
  clearInterval(timer);
  assert.ok(performance.now() - begun < 30_000);
});
