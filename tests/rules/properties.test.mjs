// Rules P-1 to P-5 of session properties.

import assert from "node:assert/strict";
import { after, test } from "node:test";
import { ALL_FIXED_PROPERTIES, ALL_USER_PROPERTIES } from "antiphon";
import { startBroker } from "../support/broker.mjs";
import { readDelivery } from "../support/wire.mjs";
import { collect, open, rejection, unique } from "./support/client.mjs";
import { startConfigured } from "./support/configured.mjs";
import { connectPeer } from "./support/endpoint.mjs";

const broker = await startBroker();
after(() => broker.stop());

const FIXED = [
  "$ClientIP",
  "$ClientType",
  "$Connector",
  "$Country",
  "$Environment",
  "$Language",
  "$Latitude",
  "$Longitude",
  "$Principal",
  "$Roles",
  "$ServerName",
  "$SessionId",
  "$StartTime",
  "$Transport",
];

test("P-1 a session has exactly fourteen fixed properties", async (t) => {
  const before = Date.now();
  const session = await open(t, broker);
  const properties = await session.getProperties([ALL_FIXED_PROPERTIES]);
  assert.deepEqual(Object.keys(properties).sort(), FIXED);
  const { $StartTime, $ServerName, $Connector, $Environment, ...others } = properties;
  assert.deepEqual(others, {
    $ClientIP: "127.0.0.1",
    $ClientType: "JAVASCRIPT_BROWSER",
    $Country: "",
    $Language: "",
    $Latitude: "NaN",
    $Longitude: "NaN",
    $Principal: "",
    $Roles: '"CLIENT","CLIENT_CONTROL"',
    $SessionId: session.id,
    $Transport: "WEBSOCKET",
  });
  assert.ok(before - 1 <= Number($StartTime) && Number($StartTime) <= Date.now() + 1, $StartTime);
  assert.ok($ServerName.length > 0 && $Connector.length > 0);
  assert.equal($Environment, `NODE_${process.platform}_${process.versions.node}`);
});

test("P-1 the properties of a session include those that it proposed, and no others", async (t) => {
  const session = await open(t, broker, { properties: { team: "blue", floor: "" } });
  const { team, floor, ...fixed } = await session.getProperties();
  assert.deepEqual([team, floor, Object.keys(fixed).sort()], ["blue", "", FIXED]);
});

test("P-1 the address is that of the connection, and the type is that of the client", async (t) => {
  const session = await open(t, broker);
  const path = unique("type");
  await session.messaging.addRequestHandler(path, (_, { sessionProperties }) => Object.values(sessionProperties), {
    sessionProperties: ["$ClientType", "$ClientIP", "$Environment"],
  });
  for (const [ty, expected] of [
    ["WB", "JAVASCRIPT_BROWSER"],
    ["PY", "PYTHON"],
    ["WJ", "JAVA"],
    ["WN", "DOTNET"],
    ["??", "OTHER"],
  ]) {
    const peer = await connectPeer(broker, { query: { ty }, localAddress: "127.0.0.9", properties: { who: ty } });
    await peer.register(path, ["*F"]);
    const filter = `$ClientType is '${expected}' and $ClientIP is '127.0.0.9' and $Environment is 'UNKNOWN'`;
    assert.equal(await session.messaging.sendRequestToFilter(`${filter} and who is '${ty}'`, path, null), 1, ty);
    await peer.close();
  }
});

test("P-2 user properties with legal keys are kept as they are", async (t) => {
  const legal = {
    team: "blue",
    Team: "red",
    "a.b-c/d:e=f": "1",
    "[x]{y},z": "2",
    ключ: "значение",
    "🔑": "🚪",
    __proto__x: "3",
    constructor: "4",
    empty: "",
    long: "x".repeat(10_000),
    quotes: `it's "x"\\y\n\t`,
  };
  const session = await open(t, broker, { properties: legal });
  assert.deepEqual(await session.getProperties([ALL_USER_PROPERTIES]), legal);
});

test("P-2 a key called __proto__ is a key like any other", async (t) => {
  const session = await open(t, broker, { properties: JSON.parse('{"__proto__":"a","then":"b"}') });
  const properties = await session.getProperties([ALL_USER_PROPERTIES]);
  assert.deepEqual(Object.entries(properties).sort(), [
    ["__proto__", "a"],
    ["then", "b"],
  ]);
  assert.equal(Object.getPrototypeOf(properties), Object.prototype);
});

test("P-2 proposed keys that are illegal, fixed or unknown fixed ones are ignored", async (t) => {
  const illegal = ["", "a b", "a\tb", "a\rb", "a\nb", 'a"b', "a'b", "a(b", "a)b", "$Unknown", "$", "$roles"];
  const fixed = ["$SessionId", "$Principal", "$Roles", "$ClientType", "$Transport", "$ClientIP", "$StartTime"];
  const properties = Object.fromEntries([...illegal, ...fixed].map((key) => [key, "forged"]));
  const session = await open(t, broker, { properties: { ...properties, good: "kept" } });
  const { good, ...others } = await session.getProperties();
  assert.equal(good, "kept");
  assert.deepEqual(Object.keys(others).sort(), FIXED);
  assert.ok(!Object.values(others).includes("forged"));
});

test("P-2 of the fixed properties a client may propose where it is and what it is", async (t) => {
  const proposed = { $Country: "fr", $Language: "FR", $Latitude: "48.85", $Longitude: "east", $Environment: "MINE_1" };
  const session = await open(t, broker, { properties: proposed });
  assert.deepEqual(await session.getProperties(Object.keys(proposed)), {
    $Country: "FR",
    $Language: "fr",
    $Latitude: "48.85",
    $Longitude: "NaN",
    $Environment: "MINE_1",
  });
});

test("P-3 roles are quoted, sorted and joined by commas, and are those that were assigned", async (t) => {
  const expected = {
    admin: '"ADMINISTRATOR"',
    client: '"CLIENT"',
    control: '"AUTHENTICATION_HANDLER","CLIENT_CONTROL","TOPIC_CONTROL"',
    operator: '"OPERATOR"',
  };
  for (const [principal, roles] of Object.entries(expected)) {
    const session = await open(t, broker, { principal, credentials: "password" });
    assert.deepEqual(await session.getProperties(["$Roles"]), { $Roles: roles });
  }
});

test("P-3 hasRoles reads the same list, in which included roles are not", async (t) => {
  const room = unique("room");
  const session = await open(t, broker, {
    principal: "control",
    credentials: "password",
    properties: { room },
  });
  const count = (roles) => session.messaging.sendRequestToFilter(`room is '${room}' and hasRoles ${roles}`, "x", null);
  assert.equal(await count('"CLIENT_CONTROL"'), 1);
  assert.equal(await count('["TOPIC_CONTROL" "AUTHENTICATION_HANDLER", "CLIENT_CONTROL"]'), 1);
  assert.equal(await count('"CLIENT"'), 0, "CLIENT_CONTROL includes CLIENT");
});

test("P-3 roles follow the principal when it changes", async (t) => {
  const session = await open(t, broker);
  const path = unique("roles");
  const answerer = await open(t, broker);
  await answerer.messaging.addRequestHandler(path, (_, { sessionProperties }) => sessionProperties, {
    sessionProperties: ["$Roles", "$Principal"],
  });
  const seen = () => session.messaging.sendRequestToPath(path, {});
  assert.deepEqual(await seen(), { $Principal: "", $Roles: '"CLIENT","CLIENT_CONTROL"' });
  assert.equal(await session.changePrincipal("operator", "password"), true);
  assert.deepEqual(await seen(), { $Principal: "operator", $Roles: '"OPERATOR"' });
  assert.equal(await session.changePrincipal("admin", "wrong"), false);
  assert.deepEqual(await seen(), { $Principal: "operator", $Roles: '"OPERATOR"' });
  // An operator may not send to filters.
  const count = (filter) =>
    answerer.messaging.sendRequestToFilter(`$SessionId is '${session.id}' and ${filter}`, "x", 1);
  assert.equal(await count("$Principal is 'operator' and hasRoles 'OPERATOR'"), 1);
  assert.equal(await count("($Principal is '' or hasRoles 'CLIENT')"), 0);
  assert.equal(await answerer.messaging.sendRequestToFilter("$Principal is 'operator'", "x", 1), 1);
});

test("P-4 a requested key that the session does not have is absent from what is told", async (t) => {
  const path = unique("absent");
  const [answerer, asker] = [await open(t, broker), await open(t, broker, { properties: { team: "blue", empty: "" } })];
  const cases = [
    [[], []],
    [["none", "$None", "Team"], []],
    [["team", "none"], ["team"]],
    [["empty"], ["empty"]],
    [
      ["*U", "none"],
      ["empty", "team"],
    ],
    [["*F", "$None", "none", "$Principal"], FIXED],
    [
      ["*F", "*U"],
      [...FIXED, "empty", "team"],
    ],
  ];
  for (const [sessionProperties, expected] of cases) {
    const registration = await answerer.messaging.addRequestHandler(path, (_, context) => context.sessionProperties, {
      sessionProperties,
    });
    const told = await asker.messaging.sendRequestToPath(path, {});
    assert.deepEqual(Object.keys(told).sort(), [...expected].sort());
    await registration.close();
    assert.deepEqual(Object.keys(await asker.getProperties(sessionProperties)).sort(), [...expected].sort());
  }
});

test("P-4 what is absent is absent from the bytes", async (t) => {
  const peer = await connectPeer(broker);
  const path = unique("absent");
  await peer.register(path, ["none", "team", "$None"]);
  const asker = await open(t, broker, { properties: { team: "blue" } });
  asker.messaging.sendRequestToPath(path, null).catch(() => {}); // ends with the peer
  assert.deepEqual(readDelivery((await peer.next({ service: 88 })).body).properties, { team: "blue" });
  await peer.close();
});

test("P-5 out of the box proposed properties are trusted, and the broker says so when it starts", async (t) => {
  assert.match(broker.log(), /proposed session properties are trusted/);
  const room = unique("room");
  const session = await open(t, broker, { properties: { room } });
  session.messaging.addStreamHandler("who", () => room, { addressed: true });
  const answers = await collect(session.messaging.gather(`room is '${room}'`, "who", null));
  assert.deepEqual(answers, [{ sessionId: session.id, value: room }]);
});

test("P-5 a session proposes as many properties as the configuration allows, when it is opened and later", async (t) => {
  const config = "[anonymous]\nroles = []\n[limits]\nmax_properties = 2\n";
  const broker = await startConfigured(`proposed_properties = ["a", "b", "c"]\n${config}`);
  t.after(() => broker.stop());
  const session = await open(t, broker, { properties: { a: "1", b: "2", untrusted: "3" } });
  assert.deepEqual(await session.getProperties([ALL_USER_PROPERTIES]), { a: "1", b: "2" });
  const opened = open(t, broker, { properties: { a: "1", b: "2", c: "3" } });
  assert.equal((await rejection(opened)).code, "HANDSHAKE_REJECTED");

  broker.reload(`proposed_properties = ["*"]\n${config.replace("2", "3")}`);
  await broker.logged(/configuration read again/);
  await open(t, broker, { properties: { a: "1", b: "2", c: "3" } });
});
