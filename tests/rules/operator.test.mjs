// What an operator does: a first file, passwords, settings from several places, reading the file again, logs for machines.

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { createConnection } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { connect } from "antiphon";
import { broker as binary } from "../../scripts/lib/paths.mjs";
import { startBroker } from "../support/broker.mjs";
import { open, options, rejection } from "./support/client.mjs";

const folder = mkdtempSync(join(tmpdir(), "antiphon-operator-"));
after(() => rmSync(folder, { recursive: true }));

const run = (args, input) => spawnSync(binary, args, { encoding: "utf8", cwd: folder, input });
const hashOf = (password) => run(["passwd"], password).stdout.trim();
const [ADAS, BOBS] = [hashOf("analytical"), hashOf("builder")];

/** A configuration file with this text; what it is replaced by later. */
function configure(name, text) {
  const file = join(folder, name);
  const write = (text) => writeFileSync(file, text);
  write(text);
  return { file, write };
}

const userTable = (name, hash, role = "CLIENT_CONTROL") =>
  `[[users]]\nname = "${name}"\npassword = "${hash}"\nroles = ["${role}"]\n`;

/** A running broker with a configuration file, which it reads again when it is told to. */
async function configured(t, name, text, args = []) {
  const { file, write } = configure(name, text);
  const broker = await startBroker(["--config", file, ...args]);
  t.after(() => broker.stop());
  const says = async (pattern, from = 0) => {
    while (!pattern.test(broker.log().slice(from))) await once(broker.process.stderr, "data");
  };
  const reload = async (text, pattern = /configuration read again/) => {
    if (text !== undefined) write(text);
    const from = broker.log().length;
    broker.process.kill("SIGHUP");
    await says(pattern, from);
    return broker.log().slice(from);
  };
  return { broker, file, write, reload };
}

const login = (broker, principal, credentials, also = {}) =>
  connect(broker.url, { ...options, principal, credentials, ...also });

test("init writes a file that only its owner reads, with a fresh password that logs in", async (t) => {
  const said = run(["init", "first.toml"]);
  assert.equal(said.status, 0, said.stderr);
  const password = /^ {4}(\S+)$/m.exec(said.stdout)[1];
  const file = join(folder, "first.toml");
  assert.equal(statSync(file).mode & 0o777, 0o600);
  assert.ok(!readFileSync(file, "utf8").includes(password));
  assert.match(run(["check", file]).stdout, /^[^\n]*first\.toml: this configuration will do\n$/);

  const again = run(["init", "first.toml"]);
  assert.equal(again.status, 2);
  assert.match(again.stderr, /^antiphon-broker: first\.toml: it exists[^\n]*\n$/);
  const other = run(["init", "second.toml"]);
  assert.notEqual(/^ {4}(\S+)$/m.exec(other.stdout)[1], password);

  const broker = await startBroker(["--config", file, "--listen", "127.0.0.1:0"]);
  t.after(() => broker.stop());
  const session = await login(broker, "admin", password);
  assert.equal(session.principal, "admin");
  await session.close();
  for (const [principal, credentials] of [
    ["admin", "password"],
    ["control", "password"],
    ["", undefined],
  ])
    assert.equal((await rejection(login(broker, principal, credentials))).code, "ACCESS_DENIED", principal);
});

test("passwd reads a password from stdin, prints its hash, and takes none from the command line", () => {
  assert.match(ADAS, /^\$argon2id\$v=19\$m=\d+,t=\d+,p=\d+\$[\w+/]+\$[\w+/]+$/);
  assert.notEqual(hashOf("analytical"), ADAS, "each has a salt of its own");
  for (const [input, args] of [
    ["", []],
    ["\n", []],
    ["two\nlines\n", []],
    [`${"long".repeat(300)}`, []],
    ["", ["s3cret"]],
  ]) {
    const { status, stdout, stderr } = run(["passwd", ...args], input);
    assert.deepEqual({ status, stdout }, { status: 2, stdout: "" });
    assert.match(stderr, /^antiphon-broker: [^\n]+\n$/);
  }
});

test("an option wins over a variable, a variable over the file, and the file over the default", async (t) => {
  const { file } = configure("precedence.toml", 'listen = ["127.0.0.1:0"]\nlog = "debug"\n[anonymous]\n');
  const logs = async (args, env) => {
    const broker = await startBroker(["--config", file, "--listen", "127.0.0.1:0", ...args], { env });
    await (await open(t, broker)).close();
    await broker.stop();
    return [/ DEBUG /, / INFO /, / WARN /].map((level) => level.test(broker.log()));
  };
  assert.deepEqual((await logs([], {}))[1], true);
  assert.deepEqual(await logs([], { ANTIPHON_LOG: "off" }), [false, false, false]);
  assert.deepEqual((await logs(["--log", "info"], { ANTIPHON_LOG: "off" })).slice(0, 2), [false, true]);
});

test("a file grants nothing that does not stand in it, and messages are smaller", async (t) => {
  const { broker } = await configured(t, "bare.toml", userTable("ada", ADAS, "CLIENT"));
  assert.equal((await rejection(connect(broker.url, options))).code, "ACCESS_DENIED");
  assert.equal((await rejection(login(broker, "control", "password"))).code, "ACCESS_DENIED");
  const page = await fetch(new URL("/diffusion", broker.httpUrl), { headers: { origin: "http://localhost" } });
  assert.equal(page.status, 403);
  const session = await login(broker, "ada", "analytical", { properties: { team: "red" } });
  assert.equal((await session.getProperties()).team, undefined);
  assert.equal((await rejection(session.messaging.addRequestHandler("a", () => 1))).code, "ACCESS_DENIED");
  const large = session.messaging.sendRequestToPath("a", new Uint8Array(5 << 20));
  assert.equal((await rejection(large)).code, "MESSAGE_TOO_LARGE");
  await session.close();
  assert.match(broker.log(), /anonymous sessions are refused/);
});

test("SIGHUP changes users, roles, origins and the log of a broker that keeps its sessions (O2)", async (t) => {
  const { broker, reload } = await configured(t, "reload.toml", userTable("ada", ADAS));
  const ada = await login(broker, "ada", "analytical");
  await ada.messaging.addRequestHandler("sum", ([a, b]) => a + b);
  const origin = "https://app.example.com";
  const status = async () => (await fetch(new URL("/diffusion", broker.httpUrl), { headers: { origin } })).status;
  assert.equal(await status(), 403);

  const text = `origins = ["${origin}"]\nlog = "debug"\nthreads = 2\n[limits]\nmax_sessions = 5\n[roles.CLIENT_CONTROL]\nincludes = ["CLIENT"]\n${userTable("ada", ADAS)}${userTable("bob", BOBS, "CLIENT")}`;
  const said = await reload(text);
  assert.match(said, /configuration read again changed="?log, origins, limits\.max_sessions, users, roles/);
  assert.equal(await status(), 400, "no WebSocket, and let in");
  const bob = await login(broker, "bob", "builder");
  assert.equal(await bob.messaging.sendRequestToPath("sum", [1, 2]), 3, "a session and its handler are kept");
  const another = ada.messaging.addRequestHandler("more", () => 1);
  assert.equal((await rejection(another)).code, "ACCESS_DENIED", "a role changes with the next operation");
  assert.equal(ada.state, "connected");
  await reload(userTable("bob", BOBS, "CLIENT"));
  assert.equal((await ada.closed).code, "CLOSED_BY_SERVER", "who is removed is out");
  assert.equal((await rejection(login(broker, "ada", "analytical"))).code, "ACCESS_DENIED");
  await bob.close();
  while (!/these keys hold after a restart keys="?threads/.test(broker.log()))
    await once(broker.process.stderr, "data");
});

test("a file that cannot be used changes nothing when it is read again, and the log says why (V21)", async (t) => {
  const good = `${userTable("ada", ADAS)}[[tokens]]\nsecret_file = "tokens.secret"\n`;
  writeFileSync(join(folder, "tokens.secret"), "a secret of more than thirty-two characters");
  const { broker, file, reload } = await configured(t, "keep.toml", good);
  const ada = await login(broker, "ada", "analytical");
  const refused = /configuration cannot be used[^\n]*/;
  for (const [text, why] of [
    ["listen = [\n", /keep\.toml:1/],
    [userTable("ada", BOBS, "NOBODY"), /NOBODY/],
    [`${userTable("bob", BOBS)}${userTable("bob", BOBS)}`, /users\[1\]\.name/],
    [userTable("bob", "$argon2id$v=19$broken"), /users\[0\]\.password/],
    [`${userTable("bob", BOBS)}[[tokens]]\nsecret_file = "nowhere"\n`, /nowhere/],
    [`${userTable("bob", BOBS)}[tls]\ncertificate = "tokens.secret"\nkey = "tokens.secret"\n`, /tls\.certificate/],
  ]) {
    assert.match(refused.exec(await reload(text, refused))[0], why);
    assert.equal((await rejection(login(broker, "bob", "builder"))).code, "ACCESS_DENIED");
    await (await login(broker, "ada", "analytical")).close();
  }
  rmSync(file);
  assert.match(await reload(undefined, refused), /keep\.toml: cannot read it/);
  await (await login(broker, "ada", "analytical")).close();
  assert.equal(ada.state, "connected");
  await reload(`${good}${userTable("bob", BOBS)}`);
  await (await login(broker, "bob", "builder")).close();
  await ada.close();
});

test("without a file descriptor left the broker goes on, says so now and then, changes nothing, and recovers (V21)", async (t) => {
  const good = `${userTable("ada", ADAS)}[limits]\nhandshake_timeout = "60s"\n`;
  const { file, write } = configure("descriptors.toml", good);
  const command = ["--nofile=32:32", binary, "--config", file, "--listen", "127.0.0.1:0"];
  const broker = await startBroker(command, { binary: "/usr/bin/prlimit" });
  t.after(() => broker.stop());
  const ada = await login(broker, "ada", "analytical");
  await ada.messaging.addRequestHandler("sum", ([a, b]) => a + b);
  const sockets = Array.from({ length: 40 }, () => createConnection(broker.port, "127.0.0.1").on("error", () => {}));
  t.after(() => sockets.map((socket) => socket.destroy()));
  const exhausted = /ERROR .*cannot accept connections/;
  await broker.logged(exhausted);

  write(userTable("bob", BOBS));
  broker.process.kill("SIGHUP");
  assert.match(await broker.logged(/configuration cannot be used/), /descriptors\.toml: cannot read it/);
  // Time for some twenty attempts to accept another connection.
  for (const end = performance.now() + 1_000; performance.now() < end; )
    assert.equal(await ada.messaging.sendRequestToPath("sum", [1, 2]), 3);
  assert.equal(
    broker
      .log()
      .split("\n")
      .filter((line) => exhausted.test(line)).length,
    1,
  );

  for (const socket of sockets) socket.destroy();
  await (await login(broker, "ada", "analytical")).close();
  assert.equal((await rejection(login(broker, "bob", "builder"))).code, "ACCESS_DENIED");
  write(`${good}${userTable("bob", BOBS)}`);
  broker.process.kill("SIGHUP");
  await broker.logged(/configuration read again/);
  await (await login(broker, "bob", "builder")).close();
  assert.equal(ada.state, "connected");
  await ada.close();
});

test("the broker takes as many file descriptors as its connections need, or says that there are fewer", {
  skip: process.platform !== "linux" && "the limits of a process are looked up as Linux tells them",
}, async (t) => {
  const of = async (limit) => {
    const command = [`--nofile=${limit}`, binary, "--listen", "127.0.0.1:0", "--max-connections", "1500"];
    const broker = await startBroker(command, { binary: "/usr/bin/prlimit" });
    t.after(() => broker.stop());
    const read = (name) => readFileSync(`/proc/${broker.process.pid}/${name}`, "utf8");
    const [, soft, hard] = /Max open files +(\d+) +(\d+)/.exec(read("limits"));
    return { broker, limits: `${soft}:${hard}`, room: Number(/FDSize:\s+(\d+)/.exec(read("status"))[1]) };
  };
  const few = /WARN .*fewer open files .*open=1000 needed=1756/;
  const enough = await of("256:4000");
  assert.equal(enough.limits, "1756:4000");
  // It does not grow while connections come, since a process with several threads stands still meanwhile.
  assert.ok(enough.room >= 1756, `${enough.room}`);
  assert.doesNotMatch(enough.broker.log(), /open files/);
  const scarce = await of("256:1000");
  assert.equal(scarce.limits, "1000:1000");
  await scarce.broker.logged(few);
});

test("a log in JSON has one object in each line, and one in text no character that steers a terminal (V17)", async (t) => {
  const nasty = "a\u001b[31m\nINFO forged: \u009b31m\r\u0000";
  const logOf = async (format) => {
    const { file } = configure(
      "log.toml",
      `log = "trace"\nlog_format = "${format}"\n[anonymous]\nroles = ["CLIENT"]\n`,
    );
    const broker = await startBroker(["--config", file]);
    t.after(() => broker.stop());
    assert.equal((await rejection(login(broker, nasty, "wr0ng"))).code, "ACCESS_DENIED");
    const session = await open(t, broker);
    await rejection(session.messaging.sendRequestToPath(`x${nasty}`, 1));
    await session.close();
    await broker.stop();
    return broker.log();
  };
  const lines = (await logOf("json")).trimEnd().split("\n");
  const events = lines.map((line) => JSON.parse(line));
  assert.ok(events.some(({ fields }) => fields.message.startsWith("session opened")));
  assert.ok(events.every(({ level, timestamp }) => level && timestamp));
  const text = await logOf("text");
  assert.ok(text.includes("forged"), "it was logged");
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
  assert.doesNotMatch(text, /[\u0000-\u0009\u000b-\u001f\u007f-\u009f]/);
  for (const line of text.trimEnd().split("\n")) assert.match(line, /^\d{4}-\d\d-\d\dT/);
  assert.doesNotMatch(text + lines, /wr0ng/);
});

test("several addresses are listened on, each told in a line", async (t) => {
  const broker = await startBroker(["--listen", "127.0.0.1:0", "--listen", "127.0.0.2:0"]);
  t.after(() => broker.stop());
  assert.equal((await fetch(broker.httpUrl)).status, 404);
});
