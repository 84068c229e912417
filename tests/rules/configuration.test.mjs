// Broken configurations: files, options and variables (O1). Each is told in one line that names the file, the line and the
// key, or the option, or the variable; nothing is started.

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { broker as binary, fromRoot } from "../../scripts/lib/paths.mjs";
import { startBroker } from "../support/broker.mjs";

const folder = mkdtempSync(join(tmpdir(), "antiphon-configuration-"));
after(() => rmSync(folder, { recursive: true }));
const file = join(folder, "broker.toml");
mkdirSync(join(folder, "site"));
writeFileSync(join(folder, "secret"), "a secret of thirty-two characters");

writeFileSync(join(folder, "short"), "a secret");

const run = (args, { env = {}, input = "" } = {}) =>
  spawnSync(binary, args, {
    encoding: "utf8",
    cwd: folder,
    env: { PATH: process.env.PATH, ...env },
    input,
    timeout: 2_000,
  });

/** What the broker says about a configuration that will not do. */
function complaint(args, options) {
  const { status, stdout, stderr } = run(args, options);
  assert.deepEqual({ status, stdout }, { status: 2, stdout: "" }, stderr);
  assert.match(stderr, /^antiphon-broker: [^\n]+\n$/, "one line");
  return stderr.trimEnd();
}

/** The same, of a file: whether it is only checked or the broker is to start with it. */
function complaintAbout(text) {
  writeFileSync(file, text);
  const said = complaint(["check", file]);
  assert.equal(complaint(["--listen", "127.0.0.1:0", "--config", file]), said);
  return said;
}

const HASH = "$argon2id$v=19$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
const user = `[[users]]\nname = "ada"\npassword = "${HASH}"\n`;

/** What is wrong, the file, the line and the key that are named, and what else is said. */
const files = [
  ["no TOML", "listen = [\n", 1, "listen"],
  ["no value", 'log = "info"\nthreads =\n', 2, "threads"],
  ["a text without its end", 'log = "info\n', 1, "log"],
  ["a key twice", 'log = "info"\nlog = "warn"\n', 2, "log"],
  ["a table twice", "[limits]\n\n[limits]\n", 3, "limits"],
  ["an unknown key", 'lisen = ["127.0.0.1:0"]\n', 1, "lisen", /did you mean listen\?/],
  ["an unknown key that is like none", "elephant = 1\n", 1, "elephant", /there are .*listen.*www/],
  ["an unknown limit", "[limits]\nmax_sesions = 1\n", 2, "limits.max_sesions", /did you mean max_sessions\?/],
  ["an unknown table", "[limit]\nmax_sessions = 1\n", 1, "limit", /did you mean limits\?/],
  ["a limit above all tables", "max_sessions = 1\n", 1, "max_sessions", /stands in \[limits\]/],
  ["a key below a table", '[limits]\nlog = "info"\n', 2, "limits.log", /stands above the first \[table\]/],
  ["a limit twice", 'drain = "1s"\n[limits]\ndrain = "2s"\n', 3, "limits.drain", /leave one of them out/],
  ["a port that is none", 'listen = ["127.0.0.1:70000"]\n', 1, "listen", /127\.0\.0\.1:8080/],
  ["a second address that is none", 'listen = [\n  "127.0.0.1:0",\n  "nowhere",\n]\n', 3, "listen"],
  ["an address twice", 'listen = ["127.0.0.1:8080", "127.0.0.1:8080"]\n', 1, "listen", /twice/],
  ["one address without a list", 'listen = "127.0.0.1:8080"\n', 1, "listen", /list of texts/],
  ["no address", "listen = []\n", 1, "listen", /ADDRESS:PORT/],
  ["a list with a number", "origins = [1]\n", 1, "origins"],
  ["a folder that is not there", 'www = "nowhere"\n', 1, "www", /nowhere/],
  ["a level that is none", 'log = "loud"\n', 1, "log", /"warn"/],
  ["a format that is none", 'log_format = "xml"\n', 1, "log_format", /"text" or "json"/],
  ["no threads", "threads = 0\n", 1, "threads", /from 1 to 64/],
  ["a number in quotation marks", 'threads = "2"\n', 1, "threads", /without quotation marks/],
  ["a negative number", "threads = -1\n", 1, "threads", /from 1 to 64/],
  ["a fraction", "threads = 1.5\n", 1, "threads", /1\.5/],
  ["a number that is too large", "[limits]\nmax_sessions = 99999999999999999999\n", 2, "limits.max_sessions"],
  ["a duration without a unit", 'drain = "5"\n', 1, "drain", /500ms, 60s or 5m/],
  ["a duration as a number", "drain = 5\n", 1, "drain", /quotation marks/],
  ["a duration below zero", 'drain = "-5s"\n', 1, "drain"],
  ["an endless duration", 'reconnect_timeout = "1000years"\n', 1, "reconnect_timeout", /365days/],
  ["a request time of nothing", 'request_timeout = "0s"\n', 1, "request_timeout", /at least 1ms/],
  ["pings without pause", 'ping_period = "1ms"\n', 1, "ping_period", /0s, or at least 100ms/],
  ["a size that is too small", 'max_message_size = "1B"\n', 1, "max_message_size", /from 1KiB to 2047MiB/],
  ["a size that is too large", 'max_message_size = "3GiB"\n', 1, "max_message_size", /from 1KiB to 2047MiB/],
  ["a size in unknown units", '[limits]\nmemory = "512 elephants"\n', 2, "limits.memory"],
  ["an origin with a path", 'origins = ["https://app.example.com/"]\n', 1, "origins", /"https:\/\/app\.example\.com"/],
  ["an origin without a scheme", 'origins = ["app.example.com"]\n', 1, "origins", /https:\/\//],
  ["an origin with a star", 'origins = ["https://*.example.com"]\n', 1, "origins", /list each/],
  ["the origin null", 'origins = ["null"]\n', 1, "origins"],
  ["an origin with a user", 'origins = ["https://me@app.example.com"]\n', 1, "origins"],
  [
    "a network with bits behind its prefix",
    'trusted_proxies = ["10.0.0.1/8"]\n',
    1,
    "trusted_proxies",
    /10\.0\.0\.0\/8/,
  ],
  ["a network that is none", 'trusted_proxies = ["proxy"]\n', 1, "trusted_proxies"],
  [
    "everything and something",
    'proposed_properties = ["*", "team"]\n',
    1,
    "proposed_properties",
    /leave the others out/,
  ],
  ["a path that is none", 'isolated_paths = ["a//b"]\n', 1, "isolated_paths"],
  ["a time for no path", '[[request_timeout_for]]\ntimeout = "5m"\n', 1, "request_timeout_for[0].path", /missing/],
  ["no time for a path", '[[request_timeout_for]]\npath = "a"\n', 1, "request_timeout_for[0].timeout", /missing/],
  ["a bad time for a path", '[[request_timeout_for]]\npath = "a"\ntimeout = "soon"\n', 3, "request_timeout_for"],
  [
    "a path with two times",
    `${'[[request_timeout_for]]\npath = "a"\ntimeout = "1s"\n'.repeat(2)}`,
    6,
    "request_timeout_for",
  ],
  ["times that are no tables", 'request_timeout_for = "a"\n', 1, "request_timeout_for", /\[\[request_timeout_for\]\]/],
  ["a certificate without a key", '[tls]\ncertificate = "secret"\n', 2, "tls.certificate", /tls\.key/],
  ["a key without a certificate", '[tls]\nkey = "secret"\n', 2, "tls.key", /tls\.certificate/],
  [
    "a certificate that is not there",
    '[tls]\ncertificate = "nowhere"\nkey = "secret"\n',
    2,
    "tls.certificate",
    /nowhere/,
  ],
  ["a folder for a certificate", '[tls]\ncertificate = "site"\nkey = "secret"\n', 2, "tls.certificate", /no file/],
  ["a certificate that is none", '[tls]\ncertificate = "secret"\nkey = "secret"\n', 2, "tls.certificate", /PEM/],
  ["anonymous without being a table", "anonymous = true\n", 1, "anonymous", /\[anonymous\]/],
  ["a role that is not defined", '[anonymous]\nroles = ["CLINET"]\n', 2, "anonymous.roles[0]", /"CLIENT"/],
  ["a user without a name", `[[users]]\npassword = "${HASH}"\n`, 1, "users[0].name", /missing/],
  ["a user without a password", '\n[[users]]\nname = "ada"\n', 2, "users[0].password", /antiphon-broker passwd/],
  [
    "a password in the clear",
    '[[users]]\nname = "ada"\npassword = "s3cret"\n',
    3,
    "users[0].password",
    /antiphon-broker passwd/,
  ],
  ["a hash of another kind", '[[users]]\nname = "ada"\npassword = "$2b$10$s3cret"\n', 3, "users[0].password"],
  ["half a hash", `[[users]]\nname = "ada"\npassword = "${HASH.slice(0, 40)}"\n`, 3, "users[0].password"],
  ["a secret that is too short", '[[tokens]]\nsecret_file = "short"\n', 2, "tokens[0].secret_file", /32/],
  ["keys that are none", '[[tokens]]\nkeys = "secret"\n', 2, "tokens[0].keys", /JSON Web Key Set/],
  ["a user twice", `${user}${user}`, 5, "users[1].name", /twice/],
  ["users in one table", `[users]\nname = "ada"\n`, 1, "users", /\[\[users\]\]/],
  ["an unknown key of a user", `${user}role = "CLIENT"\n`, 4, "users[0].role", /did you mean roles\?/],
  [
    "an unknown role of the second user",
    `${user}[[users]]\nname = "bob"\npassword = "${HASH}"\nroles = ["NONE"]\n`,
    7,
    "users[1].roles[0]",
    /\[roles\.NONE\]/,
  ],
  [
    "a property of the broker's own",
    `${user}properties = { "$Country" = "DE" }\n`,
    4,
    'users[0].properties."$Country"',
  ],
  ["a property that is no text", `${user}properties = { team = 1 }\n`, 4, "users[0].properties.team"],
  ["tokens without keys", '[[tokens]]\nissuer = "a"\n', 1, "tokens[0].keys", /missing/],
  [
    "tokens with two kinds of keys",
    '[[tokens]]\nkeys = "secret"\nsecret_file = "secret"\n',
    3,
    "tokens[0].secret_file",
  ],
  [
    "tokens with keys that are not there",
    '[[tokens]]\nissuer = "a"\nkeys = "nowhere"\n',
    3,
    "tokens[0].keys",
    /nowhere/,
  ],
  ["an unknown permission", '[roles.A]\nglobal = ["VIEW_SESION"]\n', 2, "roles.A.global[0]", /"VIEW_SESSION"/],
  [
    "a permission at the wrong place",
    '[roles.A]\nglobal = ["SEND_TO_SESSION"]\n',
    2,
    "roles.A.global[0]",
    /default_path or paths/,
  ],
  ["a global permission at a path", '[roles.A.paths]\n"a" = ["REGISTER_HANDLER"]\n', 2, "roles.A.paths.a[0]", /global/],
  ["a path of a role that is none", '[roles.A.paths]\n"a//b" = []\n', 2, 'roles.A.paths."a//b"'],
  ["a path of a role twice", '[roles.A.paths]\n"a" = []\n"/a" = []\n', 3, 'roles.A.paths."/a"', /twice/],
  ["an included role that is not there", '[roles.A]\nincludes = ["B"]\n', 2, "roles.A.includes[0]"],
  [
    "roles that include each other",
    '[roles.A]\nincludes = ["B"]\n[roles.B]\nincludes = ["A"]\n',
    1,
    "roles.A.includes",
  ],
  ["an unknown key of a role", "[roles.A]\npath = []\n", 2, "roles.A.path", /did you mean paths\?/],
  ["a bad address of the console", '[admin]\nlisten = "here"\n', 2, "admin.listen"],
  ["a bad address of a cluster", '[cluster]\nname = "a"\nnats = ["http://a"]\n', 3, "cluster.nats", /nats:\/\//],
  ["bytes that are no text", Buffer.from([0x61, 0x0a, 0xff]), 2, ""],
];

for (const [name, text, line, key, also = /./] of files) {
  test(`a file with ${name} is refused in one line (O1)`, () => {
    const said = complaintAbout(text);
    assert.ok(said.startsWith(`antiphon-broker: ${file}:${line}: ${key}`), said);
    assert.match(said, also);
    assert.doesNotMatch(said, /s3cret/);
  });
}

test("a file that is not there, or is a folder, is told in one line (O1)", () => {
  for (const path of [join(folder, "nowhere.toml"), folder]) {
    assert.ok(complaint(["check", path]).startsWith(`antiphon-broker: ${path}: cannot read it: `));
    assert.ok(complaint(["--config", path]).startsWith(`antiphon-broker: ${path}: cannot read it: `));
    assert.match(complaint([], { env: { ANTIPHON_CONFIG: path } }), /cannot read it/);
  }
});

/** Every setting that is an option as well: from the example, which a test holds equal to the code. */
const settings = [];
{
  let table = "";
  for (const line of readFileSync(fromRoot("docs/broker.toml"), "utf8").split("\n")) {
    table = /^(?:# )?\[([^\]]*)/.exec(line)?.[1] ?? table;
    const [, key, value] = /^(?:# )?(\w+) = (.*)$/.exec(line) ?? [];
    if (key && ["", "limits", "tls", "admin", "cluster"].includes(table)) settings.push({ table, key, value });
  }
}

test("every setting refuses nonsense in a file, an option and a variable, by name (O1)", () => {
  assert.ok(settings.length > 25);
  // Any text will do as a name.
  for (const { table, key } of settings.filter(({ key }) => !["name", "proposed_properties"].includes(key))) {
    const heading = table === "" ? "" : `[${table}]\n`;
    const path = table === "" ? key : `${table}.${key}`;
    const name = ["tls", "admin", "cluster"].includes(table) ? `${table}-${key}` : key;
    const flag = `--${name.replaceAll("_", "-")}`;
    const variable = `ANTIPHON_${name.replaceAll("-", "_").toUpperCase()}`;
    assert.ok(complaintAbout(`${heading}${key} = false\n`).includes(`broker.toml:${table === "" ? 1 : 2}: ${path}: `));
    assert.ok(complaint([flag, "a//b"]).startsWith(`antiphon-broker: ${flag}: `));
    assert.ok(complaint([], { env: { [variable]: "a//b" } }).startsWith(`antiphon-broker: ${variable}: `));
  }
});

const commandLines = [
  ["an unknown option", ["--lisen", "1"], /'--lisen'.*'--listen'/],
  ["an unknown command", ["chek", file], /chek/],
  ["an option without its value", ["--log"], /--log/],
  ["an option twice", ["--threads", "1", "--threads", "2"], /--threads/],
  ["a file for check that is not named", ["check"], /FILE/],
  ["an address for everybody without a file", ["--listen", "0.0.0.0:0"], /--listen: .*configuration file.*init/],
  [
    "one of two addresses for everybody",
    ["--listen", "127.0.0.1:0", "--listen", "192.0.2.1:0"],
    /--listen: 192\.0\.2\.1/,
  ],
  ["a path without a time", ["--request-timeout-for", "a"], /--request-timeout-for: .*orders\/slow=5m/],
  ["a path with two times", ["--request-timeout-for", "a=1s", "--request-timeout-for", "/a=2s"], /twice/],
];

for (const [name, args, expected] of commandLines) {
  test(`a command line with ${name} is refused in one line (O1)`, () => assert.match(complaint(args), expected));
}

test("a variable that is nearly a setting is refused in one line that names both (O1)", () => {
  for (const args of [[], ["check", file]]) {
    writeFileSync(file, "");
    const said = complaint(args, { env: { ANTIPHON_MAX_SESIONS: "5" } });
    assert.match(said, /^antiphon-broker: ANTIPHON_MAX_SESIONS: .*did you mean ANTIPHON_MAX_SESSIONS\?$/);
  }
});

test("a variable that is like no setting is named in the log, and the broker serves", async (t) => {
  const env = { ANTIPHON_PORT_8080_TCP: "tcp://10.0.0.1:8080", ANTIPHON_PRINCIPAL: "ada" };
  const broker = await startBroker([], { env });
  t.after(() => broker.stop());
  const line = await broker.logged(/ WARN .*no settings/);
  assert.match(line, /ANTIPHON_PORT_8080_TCP/);
  assert.doesNotMatch(line, /ANTIPHON_PRINCIPAL|tcp:/);
});

test("the example is a configuration, with what is a comment in it and without", () => {
  const example = readFileSync(fromRoot("docs/broker.toml"), "utf8");
  writeFileSync(file, example);
  assert.deepEqual([run(["check", file]).status, run(["check", fromRoot("docs/broker.toml")]).status], [0, 0]);
  const all = example
    .replace(/# \[tls\]\n(# .*\n)+/, "") // there are tests with certificates
    .replace(/^# (?=\[|"?[\w/]+"? = )/gm, "")
    .replace(/"\$argon2id.*"/, `"${HASH}"`)
    .replace('keys = "jwks.json"', 'secret_file = "secret"');
  assert.match(all, /^\[\[tokens\]\]$/m);
  writeFileSync(file, all);
  const { status, stderr } = run(["check", file]);
  assert.deepEqual({ status, stderr }, { status: 0, stderr: "" });
});

test("a control character of a configuration reaches no terminal (V17)", () => {
  const said = complaintAbout('"\\u001b[31m" = 1\n');
  assert.match(said, /\\u\{1b\}\[31m/);
});
