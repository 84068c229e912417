// Rules section 6.4: users, tokens, and what expires.

import assert from "node:assert/strict";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { after, describe, test } from "node:test";
import { connect } from "antiphon";
import diffusion from "diffusion";
import { configured, Issuer, SECRET_HASH, tokensTable, USERS } from "../support/identity.mjs";
import { open, options, rejection } from "./support/client.mjs";
import { connectPeer } from "./support/endpoint.mjs";

diffusion.log("silent");

/** Opens a session with the official client. */
function official({ url }, principal, credentials) {
  const { hostname: host, port } = new URL(url);
  return diffusion.connect({ host, port: Number(port), secure: false, principal, credentials });
}

/** Waits until the broker has written this. */
async function logged(broker, pattern) {
  while (!pattern.test(broker.log())) await once(broker.process.stderr, "data");
}

const issuer = new Issuer();
const withUsers = await configured({ after }, USERS);
const withTokens = await configured(
  { after },
  tokensTable('secret_file = "secret"', 'properties = { tenant = "org.id" }') +
    tokensTable('keys = "jwks.json"').replace('"https://', '"https://keys.'),
  { secret: issuer.secret, "jwks.json": issuer.jwks },
);

describe("users", () => {
  const broker = withUsers;

  test("I-1: a user is what the configuration says, with our client and the official one", async (t) => {
    const session = await open(t, broker, {
      principal: "ada",
      credentials: "secret",
      properties: { team: "red", floor: "3", colour: "green" },
    });
    const { $Principal, $Roles, $ExpiryTime, team, floor, colour } = await session.getProperties();
    assert.deepEqual(
      { $Principal, $Roles, $ExpiryTime, team, floor, colour },
      {
        $Principal: "ada",
        $Roles: '"CLIENT_CONTROL"',
        $ExpiryTime: undefined,
        team: "blue",
        floor: "3",
        colour: undefined,
      },
      "P-5: others than the trusted properties are dropped, and nobody proposes what the broker sets",
    );
    const theirs = await official(broker, "ada", "secret");
    assert.equal(theirs.isConnected(), true);
    await theirs.closeSession();
  });

  test("I-1: others are refused in the same words", async () => {
    const messages = [];
    for (const [principal, credentials] of [
      ["ada", "Secret"],
      ["ada", undefined],
      ["ada", ""],
      ["ada", new TextEncoder().encode("secret")],
      ["nobody", "secret"],
      ["control", "password"],
      [undefined, "secret"],
    ]) {
      const error = await rejection(connect(broker.url, { ...options, principal, credentials }));
      assert.equal(error.code, "ACCESS_DENIED", `${principal}: ${error}`);
      messages.push(error.message);
    }
    assert.equal(new Set(messages).size, 1, messages.join("\n"));
    await assert.rejects(official(broker, "ada", "wrong"));
  });

  test("I-1: anonymous sessions have the roles that the file gives them", async (t) => {
    const session = await open(t, broker);
    assert.equal((await session.getProperties(["$Roles"])).$Roles, '"CLIENT"');
  });

  test("a session can become another user", async (t) => {
    const session = await open(t, broker);
    const { id } = session;
    assert.equal(await session.changePrincipal("ada", "wrong"), false);
    assert.equal(session.principal, "");
    assert.equal(await session.changePrincipal("ada", "secret"), true);
    const { $Principal, team } = await session.getProperties(["$Principal", "team"]);
    assert.deepEqual([session.id, session.principal, $Principal, team], [id, "ada", "ada", "blue"]);
  });
});

describe("tokens", () => {
  const broker = withTokens;
  const iss = "https://keys.id.example.com";

  test("I-3: a token of each algorithm opens a session, with our client and the official one", async (t) => {
    for (const alg of ["HS256", "RS256", "ES256", "EdDSA"]) {
      const header = alg === "HS256" ? {} : { kid: alg };
      const credentials = issuer.token(alg === "HS256" ? {} : { iss }, { alg, header });
      for (const principal of ["ada", undefined]) {
        const session = await open(t, broker, { principal, credentials });
        const { $Principal, $Roles } = await session.getProperties(["$Principal", "$Roles"]);
        assert.deepEqual([$Principal, $Roles], ["ada", '"CLIENT_CONTROL"'], alg);
      }
      const theirs = await official(broker, "ada", credentials);
      await theirs.closeSession();
    }
  });

  test("I-3: a token that is not good here and now is refused", async () => {
    const pem = issuer.pem("RS256");
    for (const [what, credentials, principal] of [
      ["expired", issuer.token({}, { seconds: -1 })],
      ["without an end", issuer.token({ exp: undefined })],
      ["not yet", issuer.token({ nbf: Date.now() / 1000 + 60 })],
      ["another issuer", issuer.token({ iss: "https://id.example.com.evil" })],
      ["another audience", issuer.token({ aud: "others" })],
      ["another secret", issuer.token({}, { secret: "x".repeat(44) })],
      ["another principal", issuer.token(), "bob"],
      ["nobody's", issuer.token({ sub: undefined })],
      ["a public key as a secret", issuer.token({ iss }, { secret: pem })],
      ["a key set as a secret", issuer.token({ iss }, { secret: issuer.jwks })],
      ["without a signature", issuer.token({}, { alg: "none" })],
      ["an issuer that has another key", issuer.token({}, { alg: "RS256" })],
      ["another key", issuer.token({ iss }, { alg: "RS256", header: { kid: "ES256" } })],
      ["critical", issuer.token({}, { header: { crit: ["b64"], b64: false } })],
      ["long", issuer.token({ x: "x".repeat(20_000) })],
    ]) {
      const error = await rejection(connect(broker.url, { ...options, principal, credentials }));
      assert.equal(error.code, "ACCESS_DENIED", `${what}: ${error}`);
    }
  });

  test("I-4: roles that nobody configured are left out, and claims become properties", async (t) => {
    const credentials = issuer.token({ roles: "CLIENT ROOT", org: { id: 7 } });
    const session = await open(t, broker, { credentials });
    const { $Roles, tenant } = await session.getProperties(["$Roles", "tenant"]);
    assert.deepEqual([$Roles, tenant], ['"CLIENT"', "7"]);
    await logged(broker, /WARN .*ROOT/);
  });

  test("I-5: a session ends with its token, at the time that $ExpiryTime says", async (t) => {
    const credentials = issuer.token({}, { seconds: 3 });
    const session = await open(t, broker, { principal: "ada", credentials });
    const theirs = await official(broker, "ada", credentials);
    const closed = new Promise((resolve) => theirs.on("close", resolve));
    const { $ExpiryTime } = await session.getProperties(["$ExpiryTime"]);
    assert.ok(Number($ExpiryTime) > Date.now() && Number($ExpiryTime) <= Date.now() + 3000, $ExpiryTime);
    const { code } = await session.closed;
    assert.equal(code, "CLOSED_BY_SERVER");
    assert.ok(Date.now() >= Number($ExpiryTime) - 50, "not before");
    await closed;
    await logged(broker, /session closed: its credentials have expired/);
    const error = await rejection(connect(broker.url, { ...options, principal: "ada", credentials }));
    assert.equal(error.code, "ACCESS_DENIED");
  });

  test("I-5: a session lives on by changing its principal with a fresh token", async (t) => {
    const session = await open(t, broker, { principal: "ada", credentials: issuer.token({}, { seconds: 3 }) });
    const before = await session.getProperties(["$ExpiryTime"]);
    assert.equal(await session.changePrincipal("ada", issuer.token({}, { seconds: 60 })), true);
    const after = await session.getProperties(["$ExpiryTime"]);
    assert.ok(Number(after.$ExpiryTime) > Number(before.$ExpiryTime) + 10_000);
    await logged(broker, new RegExp(`another principal session=${session.id}`));
  });

  test("I-6: a credentials function is asked in time, and the session goes on as if nothing had been", async (t) => {
    let asked = 0;
    const credentials = async () => {
      asked += 1;
      // It fails sometimes, and is asked again.
      if (asked === 2) throw new Error("the server of tokens is away");
      return issuer.token({}, { seconds: asked < 4 ? 4 : 60 });
    };
    const session = await open(t, broker, { principal: "ada", credentials, log: "off" });
    const { id } = session;
    await session.messaging.addRequestHandler("renewed", (request) => request);
    const until = async () => Number((await session.getProperties(["$ExpiryTime"])).$ExpiryTime);
    const first = await until();
    while (asked < 4) await new Promise((resolve) => setTimeout(resolve, 50));
    while ((await until()) < first + 10_000) await new Promise((resolve) => setTimeout(resolve, 50));
    assert.ok(Date.now() > first, "the first token is no good any more");
    assert.equal(session.id, id);
    const asker = await open(t, broker, { credentials: issuer.token() });
    assert.equal(await asker.messaging.sendRequestToPath("renewed", 1), 1);
  });
});

describe("secrets", () => {
  test("V16: no secret is in any log, error or command line", async (t) => {
    const issuer = new Issuer();
    const config = USERS + tokensTable('secret_file = "secret"');
    const broker = await configured(t, config, { secret: issuer.secret }, ["--log", "trace"]);
    const good = issuer.token();
    const secrets = ["secr3t-wr0ng", "AQxzZWNyM3Qtd3Iwbmc", SECRET_HASH, issuer.secret];
    const texts = [];
    for (const token of [good, issuer.token({}, { seconds: -1 }), issuer.token({}, { alg: "none" })]) {
      secrets.push(token, token.split(".")[1], ...[token.split(".")[2]].filter(Boolean));
      const session = await connect(broker.url, { ...options, credentials: token }).catch((error) => {
        texts.push(error.stack, error.message);
      });
      if (session) {
        await session.changePrincipal("ada", "secr3t-wr0ng");
        await session.changePrincipal("ada", token);
        await session.close();
      }
    }
    const wrong = { ...options, principal: "ada", credentials: "secr3t-wr0ng" };
    for (const url of [broker.url, broker.url.replace("/diffusion", "/nowhere"), `${broker.url}?v=99`]) {
      texts.push((await rejection(connect(url, wrong))).stack);
    }
    for (const path of ["diffusion", "diffusion/x", "diffusion?v=zzz&c=", "%00?"]) {
      const response = await fetch(`${broker.httpUrl}${path}&password=secr3t-wr0ng&c=${good}`).catch(() => {});
      texts.push((await response?.text()) ?? "");
    }
    const peer = await connectPeer(broker, { query: { r: 60_000 } });
    secrets.push(peer.token);
    await peer.cut();
    const back = await connectPeer(broker, { query: { r: 60_000, c: peer.token, cs: 1, ss: 0 } });
    await back.close();
    texts.push(readFileSync(`/proc/${broker.process.pid}/cmdline`, "utf8"));
    await broker.stop();
    const all = [broker.log(), ...texts].join("\n");
    assert.match(broker.log(), /TRACE/);
    for (const secret of secrets) assert.ok(!all.includes(secret), `${secret} in\n${all}`);
  });
});
