// The proxies of docs/production.md in front of a broker, configured as that page says.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { setTimeout } from "node:timers/promises";
import { connect } from "antiphon";
import { WebSocket } from "ws";
import { fromRoot } from "../../scripts/lib/paths.mjs";
import { startBroker } from "../support/broker.mjs";

const NGINX = "/usr/sbin/nginx";

async function freePort() {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address();
  server.close();
  await once(server, "close");
  return port;
}

const page = readFileSync(fromRoot("docs", "production.md"), "utf8");
const options = { webSocket: WebSocket, log: "off", principal: "control", credentials: "password" };

/** nginx in front of a broker as the page configures it, with further lines in its server; gives its port and log. */
async function startNginx(t, broker, more = "") {
  const folder = mkdtempSync(join(tmpdir(), "antiphon-nginx-"));
  t.after(() => rmSync(folder, { recursive: true }));
  const port = await freePort();
  const [, text] = /```nginx\n(.*?)```/s.exec(page);
  const server = text.replaceAll(":8080", `:${broker.port}`).replace(":80;", `:${port}; ${more}`);
  const paths = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map((of) => `${of}_temp_path ${folder}/${of};`);
  const http = `http { access_log ${folder}/access.log; ${paths.join(" ")} ${server} }`;
  writeFileSync(
    join(folder, "nginx.conf"),
    `daemon off; pid ${folder}/pid; error_log stderr notice; events {} ${http}`,
  );
  const nginx = spawn(NGINX, ["-c", join(folder, "nginx.conf"), "-p", folder], { stdio: ["ignore", "ignore", "pipe"] });
  t.after(async () => {
    nginx.kill();
    await once(nginx, "close");
  });
  for await (const text of nginx.stderr.iterator({ destroyOnReturn: false })) {
    if (String(text).includes("start worker process")) break;
  }
  nginx.stderr.resume();
  const log = () => readFileSync(join(folder, "access.log"), "utf8");
  return { url: `ws://127.0.0.1:${port}/diffusion`, door: `ws://127.0.0.1:${port}/antiphon`, log };
}

const withNginx = { skip: !existsSync(NGINX) && `there is no ${NGINX}: apt-get install nginx-light` };

test("nginx, as the page configures it, passes a session on and logs no secret", withNginx, async (t) => {
  const broker = await startBroker();
  t.after(() => broker.stop());
  const nginx = await startNginx(t, broker);
  const session = await connect(nginx.url, options);
  await session.ping();
  await session.close();
  assert.equal(nginx.log(), "");
});

test("at /antiphon its log has every connection, and no secret in any of them", withNginx, async (t) => {
  const broker = await startBroker();
  t.after(() => broker.stop());
  const nginx = await startNginx(t, broker);
  let socket;
  const webSocket = class extends WebSocket {
    constructor(url) {
      super(url);
      socket = this;
    }
  };
  const given = { ...options, webSocket, properties: { mark: "mark-property" }, reconnect: { delay: () => 1 } };
  const session = await connect(nginx.door, given);
  const back = new Promise((resolve) => session.on("reconnect", resolve));
  socket.terminate();
  assert.deepEqual(await back, { lossless: true, newSession: false });
  await session.ping();
  await session.close();
  const token = { ...given, credentials: "t".repeat(10_000) };
  await assert.rejects(connect(nginx.door, token), { code: "ACCESS_DENIED" });
  // It logs a connection when it is over.
  while (nginx.log().split("\n").length < 4) await setTimeout(10);
  const lines = nginx.log().trim().split("\n");
  assert.equal(lines.length, 3);
  for (const line of lines) assert.match(line, /"GET \/antiphon HTTP\/1\.1" 101 /);
});

test(
  "at /diffusion a token of 10 kB needs the buffers that the page names, and reaches the broker with them",
  withNginx,
  async (t) => {
    const broker = await startBroker();
    t.after(() => broker.stop());
    const token = { ...options, credentials: "t".repeat(10_000) };
    const plain = await startNginx(t, broker);
    await assert.rejects(connect(plain.url, token), { code: "CONNECTION_ERROR", message: /414/ });
    assert.ok(!broker.log().includes("refused"));

    const [line] = /large_client_header_buffers [^`]*/.exec(page);
    const roomy = await startNginx(t, broker, `${line};`);
    await assert.rejects(connect(roomy.url, token), { code: "ACCESS_DENIED" });
    assert.match(broker.log(), /refused: the principal is unknown or the credentials are wrong/);
  },
);

const HAPROXY = "/usr/sbin/haproxy";

test("HAProxy, as the page configures it, passes a session on", {
  skip: !existsSync(HAPROXY) && `there is no ${HAPROXY}: apt-get install haproxy`,
}, async (t) => {
  const broker = await startBroker();
  t.after(() => broker.stop());
  const folder = mkdtempSync(join(tmpdir(), "antiphon-haproxy-"));
  t.after(() => rmSync(folder, { recursive: true }));
  const port = await freePort();
  const text = /```text\n(.*?)```/s.exec(page)[1].replace(":8080", `:${broker.port}`).replace(":80\n", `:${port}\n`);
  writeFileSync(join(folder, "haproxy.cfg"), text);
  const haproxy = spawn(HAPROXY, ["-W", "-f", join(folder, "haproxy.cfg")], { stdio: ["ignore", "ignore", "pipe"] });
  t.after(async () => {
    haproxy.kill();
    await once(haproxy, "close");
  });
  for await (const said of haproxy.stderr.iterator({ destroyOnReturn: false })) {
    if (String(said).includes("Loading success")) break;
  }
  haproxy.stderr.resume();
  for (const path of ["/antiphon", "/diffusion"]) {
    const session = await connect(`ws://127.0.0.1:${port}${path}`, options);
    await session.ping();
    await session.close();
  }
});
