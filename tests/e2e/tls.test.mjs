// Over TLS, with a test authority: a page in a browser that trusts its certificate, a program in Node.js that trusts the
// authority by NODE_EXTRA_CA_CERTS, and one in Rust that does by SSL_CERT_FILE.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { join } from "node:path";
import { test } from "node:test";
import { promisify } from "node:util";
import { example } from "../../scripts/lib/crates.mjs";
import { fromRoot, target } from "../../scripts/lib/paths.mjs";
import { cargo } from "../../scripts/lib/run.mjs";
import { startAuthority } from "../support/authority.mjs";
import { startBroker } from "../support/broker.mjs";
import { launchBrowser } from "../support/browser.mjs";
import { assembleSite } from "../support/site.mjs";

/** A broker with a certificate, and the page by https. */
async function start(t) {
  const authority = startAuthority(t);
  const identity = authority.issue();
  const broker = await startBroker([...identity.args, "--www", await assembleSite()]);
  t.after(() => broker.stop());
  return { authority, identity, broker, page: `https://localhost:${broker.port}/` };
}

/** The text of an answer to itself, by a session of a page. */
const talk = async (url) => {
  const { connect } = await import("/antiphon/index.js");
  const session = await connect(url, { principal: "control", credentials: "password" });
  await session.messaging.addRequestHandler("page", (request) => `${request} to you`);
  const answer = await session.messaging.sendRequestToPath("page", "hello");
  await session.close();
  return answer;
};

test("N-5 a page by https connects by wss, where the browser trusts the certificate", async (t) => {
  const { identity, broker, page: url } = await start(t);
  const browser = await launchBrowser({ args: [`--ignore-certificate-errors-spki-list=${identity.spki}`] });
  t.after(() => browser.close());
  const page = await browser.newPage();
  await page.goto(`${url}nothing/here`);
  assert.equal(await page.evaluate(talk, url), "hello to you");
  assert.equal(await page.evaluate(talk, broker.url.replace("127.0.0.1", "localhost")), "hello to you");
});

test("N-5 where the browser does not trust it, there is no connection, and the page is told so", async (t) => {
  const { page: url } = await start(t);
  const plain = await startBroker(["--www", await assembleSite()]);
  t.after(() => plain.stop());
  const browser = await launchBrowser();
  t.after(() => browser.close());
  const page = await browser.newPage();
  await page.goto(`${plain.httpUrl}nothing/here`);
  const code = await page.evaluate(async (address) => {
    const { connect } = await import("/antiphon/index.js");
    return connect(address, { connectTimeout: 5000 }).then(String, (error) => error.code);
  }, url);
  assert.equal(code, "CONNECTION_ERROR");
});

test("N-5 a program connects by wss, if Node.js is told which authority to trust", async (t) => {
  const { authority, broker } = await start(t);
  const program = `
    import { connect } from "antiphon";
    import { WebSocket } from "ws";
    const session = await connect(process.argv[1], { webSocket: WebSocket }).catch((error) => error);
    console.log(session.state ?? session.code);
    await session.close?.();
  `;
  const run = (env) =>
    promisify(execFile)(process.execPath, ["--input-type=module", "-e", program, broker.url], {
      cwd: fromRoot("tests"),
      env: { ...process.env, ...env },
    });
  assert.equal((await run({ NODE_EXTRA_CA_CERTS: authority.file })).stdout, "connected\n");
  assert.equal((await run({})).stdout, "CONNECTION_ERROR\n");
});

test("N-5 a program in Rust connects by wss, if it is told which authority to trust, and says so if not", async (t) => {
  await cargo(...example);
  const { authority, broker } = await start(t);
  const program = join(target, "debug", "antiphon-example");
  /** What it ends with: even if it connects, there is nobody for it to greet. */
  const run = (file) =>
    promisify(execFile)(program, [broker.url], {
      env: { ...process.env, SSL_CERT_FILE: file, SSL_CERT_DIR: "" },
    }).then(
      () => assert.fail("it greeted somebody"),
      ({ stderr }) => stderr,
    );
  assert.match(await run(authority.file), /no session handles greetings/);
  assert.match(await run(startAuthority(t).file), /the name of one that is trusted here, but another key/);
  assert.match(await run("no such file"), /no certificates of authorities here .*no such file.*set SSL_CERT_FILE/);
});
