// V1: which web pages may open a WebSocket, seen from outside. Spellings by the dozen are in the unit tests of
// crates/broker/src/net/origin.rs; here, that the list is asked wherever a session could be reached.

import assert from "node:assert/strict";
import { after, test } from "node:test";
import { startBroker } from "../../support/broker.mjs";
import { ask, upgradeStatus } from "../../support/raw.mjs";

const listed = ["https://good.example", "http://shop.example:8080"];
const broker = await startBroker(listed.flatMap((origin) => ["--origins", origin]));
after(() => broker.stop());

const bad = [
  "null",
  "",
  "good.example",
  "http://good.example",
  "https://GOOD.example",
  "https://good.example.",
  "https://good.example/",
  "https://good.example:443",
  "https://good.example:8443",
  "https://good.example.evil.example",
  "https://good.example@evil.example",
  "https://evil.example#https://good.example",
  "https://evilgood.example",
  "https://sub.good.example",
  "https://good.example, https://evil.example",
  "http://shop.example",
  "http://shop.example:80801",
  "http://127.0.0.1",
  "http://localhost",
  "http://[::1]",
  "file://",
  "https://b\u00fccher.example",
];

test("N-1, V1: exactly the pages that are listed, and programs, open a WebSocket", async () => {
  assert.equal(await upgradeStatus(broker), 101, "no browser");
  for (const origin of listed) assert.equal(await upgradeStatus(broker, undefined, [`Origin: ${origin}`]), 101, origin);
  for (const origin of bad) {
    assert.equal(await upgradeStatus(broker, undefined, [`Origin: ${origin}`]), 403, origin);
  }
  assert.equal(
    await upgradeStatus(broker, undefined, ["Origin: https://good.example", "Origin: https://evil.example"]),
    403,
  );
  assert.equal(broker.log().match(/ opened/g)?.length ?? 3, 3, broker.log());
});

test("V1: no other page ends a session, and no cookie opens one", async () => {
  const close = (origin) =>
    ask(
      broker,
      `POST /diffusion/close HTTP/1.1\r\nHost: x\r\n${origin}Connection: close\r\nContent-Length: 3\r\n\r\nabc`,
    );
  assert.equal((await close("Origin: https://evil.example\r\n")).status, 403);
  assert.equal((await close("Origin: https://good.example\r\n")).status, 204);
  const { text } = await ask(broker, "GET / HTTP/1.1\r\nHost: x\r\nCookie: session=1\r\nConnection: close\r\n\r\n");
  assert.doesNotMatch(text, /set-cookie/i);
});

test("V1: the same host is the name and the port that the page connects to", async (t) => {
  const same = await startBroker(["--origins", "same-host"]);
  t.after(() => same.stop());
  const status = (origin, host) =>
    ask(same, `GET /diffusion/close HTTP/1.1\r\nHost: ${host}\r\nOrigin: ${origin}\r\nConnection: close\r\n\r\n`).then(
      (answer) => answer.status !== 403,
    );
  assert.ok(await status("https://app.example", "app.example"));
  assert.ok(await status("http://app.example:8080", "app.example:8080"));
  assert.ok(!(await status("https://app.example", "app.example:8080")));
  assert.ok(!(await status("https://evil.example", "app.example")));
  assert.ok(!(await status("http://localhost", "app.example")));
});
