// What comes before there is a session, from clients that mean no good: V2 to V5, V8 and V26.

import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { connect } from "antiphon";
import { startBroker } from "../../support/broker.mjs";
import { ask, clientFrame, openRaw, openSession, statusOf, upgrade, upgradeStatus } from "../../support/raw.mjs";
import { options } from "../support/client.mjs";

const broker = await startBroker();
after(() => broker.stop());

const TICKS_PER_SECOND = 100; // of /proc

/** What the broker has worked so far, in ms. */
function worked({ process: { pid } } = broker) {
  const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
  const [utime, stime] = /\) (?:\S+ ){11}(\d+) (\d+)/.exec(stat).slice(1);
  return ((Number(utime) + Number(stime)) * 1000) / TICKS_PER_SECOND;
}

async function workFor(act) {
  const before = worked();
  await act();
  return worked() - before;
}

/** Resident bytes of the broker. */
const resident = () =>
  Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${broker.process.pid}/status`, "utf8"))[1]) * 1024;

test("N-2, V2: whatever a client offers, nothing is compressed, and what says it is ends the session with 1002", async () => {
  const offers = [
    "permessage-deflate",
    "permessage-deflate; client_max_window_bits",
    "permessage-deflate; server_no_context_takeover; client_max_window_bits=15",
    "permessage-deflate; server_max_window_bits=8, permessage-deflate",
    "x-webkit-deflate-frame",
    "__proto__",
    "constructor; toString=1",
  ];
  for (const offer of offers) {
    const session = await openSession(broker, undefined, [`Sec-WebSocket-Extensions: ${offer}`]);
    assert.doesNotMatch(session.head(), /sec-websocket-extensions/i, offer);
    session.send(clientFrame(0xc2, Buffer.alloc(100)));
    assert.equal(await session.closeCode(), 1002, offer);
    session.close();
  }
});

test("N-2, V3: a frame that says it is enormous ends the session with 1009, and takes no memory", async () => {
  const before = resident();
  for (const length of [2n ** 63n - 1n, 2n ** 64n - 1n, 2n ** 40n]) {
    const session = await openSession(broker);
    session.send(clientFrame(0x82, Buffer.alloc(10), length));
    assert.equal(await session.closeCode(), 1009);
    session.close();
  }
  assert.ok(resident() - before < 4 << 20, `${resident() - before} bytes more`);
});

test("V5: headers by the thousand, long ones and odd ones are refused, or do nothing, at little cost", async () => {
  const many = Array.from({ length: 10_000 }, (_, n) => `x-${n}: 1`);
  const requests = {
    "10,000 headers": [undefined, many],
    "a header of 1 MiB": [undefined, [`x: ${"y".repeat(1 << 20)}`]],
    "an address of 1 MiB": [`/diffusion?${"y".repeat(1 << 20)}`, []],
    "101 headers": [undefined, many.slice(0, 101)],
  };
  for (const [what, [target, headers]] of Object.entries(requests)) {
    const times = 10;
    const work = await workFor(async () => {
      for (let n = 0; n < times; n++) {
        const status = await upgradeStatus(broker, target, headers);
        assert.ok(status === undefined || (status >= 400 && status < 500), `${what}: ${status}`);
      }
    });
    assert.ok(work <= 10 * times + 20, `${what}: ${work / times} ms each`);
  }
  for (const headers of [["Sec-WebSocket-Protocol: __proto__"], ['Sec-WebSocket-Extensions: __proto__; a="b']]) {
    const status = await upgradeStatus(broker, undefined, headers);
    assert.ok([101, 400].includes(status), `${headers}: ${status}`);
  }
});

test("N-2, V8: a message in 65,536 fragments costs what its bytes cost, and one more fragment ends the session", async () => {
  const size = 4 << 20;
  const fragments = (length, payload) =>
    Buffer.concat(
      Array.from({ length }, (_, n) => clientFrame((n === 0 ? 0x02 : 0) | (n === length - 1 ? 0x80 : 0), payload)),
    );
  // What is no message of the protocol ends the session when it is whole.
  const whole = clientFrame(0x82, Buffer.alloc(size, 0xff));
  const pieces = fragments(65_536, Buffer.alloc(64, 0xff));
  const send = async (bytes) => {
    const session = await openSession(broker);
    session.send(bytes);
    const code = await session.closeCode();
    session.close();
    return code;
  };
  await send(whole);
  const [one, many] = [await workFor(() => send(whole)), await workFor(() => send(pieces))];
  assert.ok(many <= 5 * Math.max(one, 20), `${many} ms, where one frame takes ${one}`);
  assert.equal(await send(fragments(65_537, Buffer.of(1)).subarray(0)), 1009);
});

test("N-7, V26: nothing is found outside the page's files, however its path is written", async () => {
  const up = ["..", "%2e%2e", "%2E.", ".%2e", "..%00", "..;", "%252e%252e", "%c0%ae%c0%ae", "%uff0e%uff0e", "\u2025"];
  const slashes = ["/", "%2f", "\\", "%5c", "//"];
  const paths = up.flatMap((dots) => slashes.map((slash) => `/${dots}${slash}${dots}${slash}etc${slash}passwd`));
  const more = [
    "//etc/passwd",
    "/./etc/passwd",
    "/%00",
    "/file:///etc/passwd",
    "/diffusion/../etc/passwd",
    "/..",
    "/~root",
  ];
  for (const path of [...paths, ...more]) {
    const bytes = Buffer.from(`GET ${path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n`);
    const { status, text } = await ask(broker, bytes);
    // Bytes that no address may have are no request at all.
    assert.ok(status === 404 || (status === 400 && /[^!-~]/.test(path)), `${path}: ${status}`);
    assert.doesNotMatch(text, /root:/);
  }
});

test("N-3, V4: whoever sends a byte now and then is gone when the time is over; others connect meanwhile", async (t) => {
  const impatient = await startBroker(["--handshake-timeout", "1s"]);
  t.after(() => impatient.stop());
  const begun = performance.now();
  const beginnings = [
    "",
    "GET /diffusion HTTP/1.1\r\n",
    upgrade().slice(0, -2),
    "POST /diffusion/close HTTP/1.1\r\nHost: x\r\nContent-Length: 900\r\n\r\n",
  ];
  const drippers = await Promise.all(Array.from({ length: 200 }, () => openRaw(impatient)));
  for (const [n, raw] of drippers.entries()) raw.send(beginnings[n % beginnings.length]);
  const timer = setInterval(() => {
    for (const raw of drippers) if (!raw.socket.closed && raw.socket.writable) raw.send("a");
  }, 200);
  t.after(() => clearInterval(timer));
  const session = await connect(impatient.url, options);
  await Promise.all(drippers.map((raw) => raw.closed));
  const elapsed = performance.now() - begun;
  assert.ok(elapsed < 20_000, `${elapsed} ms`);
  await session.ping();
  await session.close();
});

test("N-3, V4: whoever does not read the page is gone when the time is over", async (t) => {
  const folder = mkdtempSync(join(tmpdir(), "antiphon-page-"));
  t.after(() => rmSync(folder, { recursive: true }));
  writeFileSync(join(folder, "noise"), randomBytes(1 << 20));
  const impatient = await startBroker(["--handshake-timeout", "1s", "--log", "debug", "--www", folder]);
  t.after(() => impatient.stop());
  const raw = await openRaw(impatient);
  t.after(() => raw.close());
  raw.socket.pause();
  raw.send("GET /noise HTTP/1.1\r\nHost: x\r\n\r\n".repeat(100));
  await impatient.logged(/error writing a body/);
});

test("N-7: what a refused request answers names no secret, and neither does the log", async (t) => {
  const chatty = await startBroker(["--log", "trace"]);
  t.after(() => chatty.stop());
  const secret = "c2VjcmV0LW9mLW1pbmU";
  const query = `?ty=WB&v=25&ca=8&r=0&username=x&password=${secret}`;
  for (const target of [
    `/diffusion${query}`,
    `/elsewhere${query}`,
    `/diffusion?password=${secret}`,
    `/${secret}?${"z".repeat(70_000)}`,
  ]) {
    for (const headers of [[], ["Origin: https://evil.example"], ["Upgrade: no"]]) {
      const raw = await openRaw(chatty);
      raw.send(upgrade(target, headers));
      await raw.until((bytes) => statusOf(bytes)).catch(() => {});
      raw.close();
      assert.ok(!String(raw.received()).includes(secret));
    }
  }
  await chatty.stop();
  assert.ok(!chatty.log().includes(secret));
});
