// Rules F-1 to F-6 of session filters, and the examples of the rules: each goes to the broker, and sessions answer.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { after, test } from "node:test";
import { escapeFilter, InvalidFilterError, MessagingError } from "antiphon";
import { fromRoot } from "../../scripts/lib/paths.mjs";
import { names, tableIn } from "../docs/support/tables.mjs";
import { startBroker } from "../support/broker.mjs";
import { readFilterOutcome, SEND_TO_PATH, text } from "../support/wire.mjs";
import { assertError, collect, open, options, randomNumbers, rejection, seed, unique } from "./support/client.mjs";
import { connectPeer } from "./support/endpoint.mjs";
import { takesLess } from "./support/work.mjs";

const broker = await startBroker();
after(() => broker.stop());

/** The IDs of the sessions that answered; all that match have to. */
async function matched(session, filter) {
  const answers = await collect(session.messaging.gather(filter, "match", null));
  for (const { error } of answers) assert.equal(error, undefined);
  return answers.map(({ sessionId }) => sessionId);
}

function answering(session) {
  session.messaging.addStreamHandler("match", () => true, { addressed: true });
  return session;
}

/** Asserts that a filter does not parse, and where. */
async function faulty(session, filter, line, column) {
  const error = await rejection(session.messaging.sendRequestToFilter(filter, "match", null));
  assert.ok(error instanceof InvalidFilterError, `${filter}: ${error.stack}`);
  assertError(error, { code: "INVALID_FILTER", outcome: "refused" });
  const [first] = error.errors;
  assert.equal(`${first.line}:${first.column}`, `${line}:${column}`, `${filter}: ${first.message}`);
  return error;
}

// ---- The examples ----

// Sessions A and B of the rules, as far as a client can propose what they have; and two more, since roles come with a
// principal: where the filter is about roles, anonymous (CLIENT, CLIENT_CONTROL) stands for A and the principal client
// (CLIENT) for B. Names in the filters are changed accordingly.
const A = answering(
  await open({ after }, broker, {
    principal: "control",
    credentials: "password",
    properties: {
      $Country: "FR",
      $Language: "fr",
      Department: "Accounts",
      Status: "Open",
      Tier: "2",
      Note: `it's "x"\\y`,
    },
  }),
);
const B = await connectPeer(broker, { query: { ty: "PY" }, localAddress: "127.0.0.2" });
after(() => B.close());
B.socket.on("message", () => {
  for (let asked = B.take({ service: SEND_TO_PATH }); asked; asked = B.take({ service: SEND_TO_PATH })) {
    B.respond(asked, text("yes"));
  }
});
const anonymous = answering(await open({ after }, broker));
const client = answering(await open({ after }, broker, { principal: "client", credentials: "password" }));

const rules = readFileSync(fromRoot("docs/rules.md"), "utf8");
const ABOUT_ROLES = /roles/i;

/** The filter in a cell of the rules. */
const filterIn = (cell) => (names(cell)[0] ?? "").replace("⏎", "\n");

/** A filter of the rules, for the sessions that there are here. */
function adapted(filter) {
  if (ABOUT_ROLES.test(filter)) return filter.replaceAll("OPERATOR", "CLIENT_CONTROL");
  return filter
    .replace("alice", "control")
    .replace("Alice", "Control")
    .replace(/'ali\b/, "'con")
    .replace(String.raw`192\\.168\\..*`, String.raw`127\\.0\\.0\\.1`);
}

for (const { "no.": number, filter: cell, A: ofA, B: ofB } of tableIn(rules, "3.4 Examples")) {
  const filter = filterIn(cell);
  test(`example ${number} of the filters, ${JSON.stringify(filter)}, matches A and B as the rules say`, async () => {
    const pair = ABOUT_ROLES.test(filter) ? [anonymous, client] : [A, B];
    const ids = await matched(A, adapted(filter));
    assert.deepEqual(
      pair.map(({ id }) => (ids.includes(id) ? "Y" : "n")),
      [ofA, ofB],
    );
  });
}

for (const { "no.": number, filter: cell, place } of tableIn(rules, "3.5 Faults")) {
  const filter = filterIn(cell);
  test(`example ${number} of the filters, ${JSON.stringify(filter)}, does not parse at ${place}`, async () => {
    await faulty(A, filter, ...place.split(":"));
  });
}

// ---- The rules ----

test("F-1 the escapes of the filter language are read, in both kinds of quotes", async (t) => {
  const value = "\n\r\t\b\f\\\"'A\u00e9";
  const room = unique("room");
  const session = answering(await open(t, broker, { properties: { room, value } }));
  for (const quote of ["'", '"']) {
    const written = String.raw`\n\r\t\b\f\\\"\'\u0041\u00E9`;
    assert.deepEqual(await matched(session, `room is '${room}' and value is ${quote}${written}${quote}`), [session.id]);
  }
});

test("F-1 two escapes of half a surrogate pair each are the character that they stand for", async (t) => {
  const session = answering(await open(t, broker, { properties: { face: "\u{1f600}" } }));
  assert.deepEqual(await matched(session, String.raw`face is '\ud83d\ude00'`), [session.id]);
});

test("F-1 every other escape is an error at the escape, none is silently something else", async () => {
  const good = new Set("\"'\\nrtbfu");
  const others = Array.from({ length: 95 }, (_, index) => String.fromCharCode(32 + index)).filter((c) => !good.has(c));
  for (const character of [...others, "é", "😀", "\n"]) await faulty(A, `a is 'x\\${character}y'`, 1, 7);
  for (const bad of ["\\u", "\\u12", "\\u12g4", "\\ud800", "\\udc00", "\\ud83dx"]) {
    await faulty(A, `a is 'x${bad}'`, 1, 7);
  }
});

test("F-1 escapeFilter writes any text so that it is found", async (t) => {
  for (const value of ["", `it's "x"\\y`, "\\", "\\n", "''", '"', "a\nb\tc", "\\u0041", "💡 'q'"]) {
    const session = answering(await open(t, broker, { properties: { room: unique("room"), value } }));
    for (const quote of ["'", '"']) {
      const ids = await matched(session, `has room and value is ${quote}${escapeFilter(value)}${quote}`);
      assert.ok(ids.includes(session.id), JSON.stringify(value));
    }
    await session.close();
  }
});

test("F-2 regular expressions that a linear engine lacks are errors at the string", async () => {
  for (const expression of ["(?=a)", "(?!a)", "(?<=a)b", "(?<!a)b", String.raw`(a)\\1`, "(?>a)"]) {
    await faulty(A, `$Principal matches '${expression}'`, 1, 19);
  }
});

// In Java, `a++a` matches nothing. Read as a repeated repetition it would match, and reach the wrong sessions.
test("F-2 possessive quantifiers are errors at the string", async () => {
  for (const expression of ["a++a", "a*+a", "a?+a", "a{1,2}+a"]) {
    await faulty(A, `$Principal matches '${expression}'`, 1, 19);
  }
});

test("F-2 a regular expression matches the whole value, and never for long", async (t) => {
  const room = unique("room");
  const properties = { room, word: `${"a".repeat(5000)}b` };
  const session = answering(await open(t, broker, { properties }));
  const matches = async (expression) => {
    const ids = await matched(session, `room is '${room}' and word matches '${expression}'`);
    return ids.length === 1;
  };
  assert.equal(await matches("a+b"), true);
  assert.equal(await matches("a+"), false);
  assert.equal(await matches("b|a+b"), true);
  assert.equal(await matches("a|ab"), false);
  await takesLess(1000, broker, async () => {
    assert.equal(await matches("(a|a)*(a|a)*(a|a)*c"), false);
    assert.equal(await matches("(a*)*(a*)*(a*)*c"), false);
  });
});

test("F-3 lines count from 1, columns from 0, in characters", async () => {
  await faulty(A, "all and\n\n  x equals 'y'", 3, 4);
  await faulty(A, "all\r\nand ?", 2, 5);
  await faulty(A, "a is '😀' b", 1, 9);
  await faulty(A, "a is 'two\nlines' b", 2, 7);
  await faulty(A, "all and\n", 2, 0);
});

test("F-4 a filter that does not parse has at least one report, with a text", async () => {
  const peer = await connectPeer(broker);
  for (const filter of ["", "x", "all all", "((", "not not", "hasRoles []"]) {
    const answer = await peer.answerTo(peer.sendToFilter(filter, "match", text("x")));
    const { errors } = readFilterOutcome(answer.body);
    assert.ok(errors.length >= 1, filter);
    for (const { message, line, column } of errors) {
      assert.ok(message.length > 0);
      assert.ok(line >= 1 && column >= 0);
    }
  }
  await peer.close();
});

test("F-5 a filter that does not parse rejects with an InvalidFilterError that has the reports", async (t) => {
  const session = await open(t, broker);
  const sends = [
    session.messaging.sendRequestToFilter("x", "match", 1),
    session.messaging.gather("x", "match", 1).expected,
    session.messaging.gather("x", "match", 1)[Symbol.asyncIterator]().next(),
  ];
  for (const sent of sends) {
    const error = await rejection(sent);
    assert.ok(error instanceof InvalidFilterError && error instanceof MessagingError && error instanceof Error);
    assert.equal(error.name, "InvalidFilterError");
    assert.deepEqual(Object.keys(error.errors[0]).sort(), ["column", "line", "message"]);
    assert.deepEqual([error.errors.length, error.errors[0].line, error.errors[0].column], [1, 1, 1]);
    assert.ok(error.message.includes(error.errors[0].message));
  }
});

test("F-6 64 levels are allowed and 65 are not, of parentheses, of nots, and of both", async () => {
  const nested = {
    parentheses: (depth) => `${"(".repeat(depth)}all${")".repeat(depth)}`,
    nots: (depth) => `${"not ".repeat(depth)}all`,
    both: (depth) => `${"not (".repeat(depth / 2)}${depth % 2 ? "not " : ""}all${")".repeat(depth / 2)}`,
  };
  for (const [what, filter] of Object.entries(nested)) {
    assert.ok((await A.messaging.sendRequestToFilter(filter(64), "match", null)) > 0, what);
    assertError(await rejection(A.messaging.sendRequestToFilter(filter(65), "match", null)), {
      code: "INVALID_FILTER",
      outcome: "refused",
    });
  }
});

test("F-6 16 384 characters are allowed and one more is not", async () => {
  for (const character of ["x", "é", "😀"]) {
    const filter = (length) => `a is '${character.repeat(length - 7)}'`;
    assert.equal(await A.messaging.sendRequestToFilter(filter(16_384), "match", null), 0);
    await faulty(A, filter(16_385), 1, 0);
  }
});

test("F-6 a wide filter is no deep one", async () => {
  const filter = Array.from({ length: 900 }, (_, index) => `a is '${index}'`).join(" or ");
  assert.equal(await A.messaging.sendRequestToFilter(filter, "match", null), 0);
});

// ---- While sessions come and go ----

test("M-13 a filter request has as many responses and errors as its count, while sessions come and go", async (t) => {
  const number = seed();
  t.diagnostic(`ANTIPHON_SEED=${number}`);
  const random = randomNumbers(number);
  const pick = (items) => items[Math.floor(random() * items.length)];
  const busy = await startBroker(["--request-timeout", "150ms"]);
  t.after(() => busy.stop());

  const behaviours = {
    answers: (n) => n,
    "answers later": (n) => new Promise((resolve) => setImmediate(resolve, n)),
    throws: () => {
      throw new Error("broken");
    },
    "is silent": () => new Promise(() => {}),
    "has no stream": undefined,
  };
  const members = new Set();
  const everyId = new Set();

  async function join() {
    let socket;
    class Cuttable extends options.webSocket {
      constructor(...args) {
        super(...args);
        socket = this;
      }
    }
    const session = await open(t, busy, { properties: { room: "busy" }, webSocket: Cuttable });
    const stream = behaviours[pick(Object.keys(behaviours))];
    if (stream) session.messaging.addStreamHandler("busy", stream, { addressed: true });
    everyId.add(session.id);
    members.add({ session, cut: () => socket.terminate() });
  }

  function leave() {
    const member = pick([...members]);
    members.delete(member);
    if (random() < 0.5) member.session.close();
    else member.cut();
    return member.session.closed;
  }

  const mayFail = ["CALLBACK_EXCEPTION", "REQUEST_TIME_OUT", "SESSION_CLOSED", "UNHANDLED_MESSAGE"];
  const mayEnd = ["CONNECTION_LOST", "SESSION_CLOSED"];

  /** Sends to everybody; checks what came once there is nothing more to come, or the sender has gone. */
  async function ask({ messaging }, n) {
    const gathering = messaging.gather("room is 'busy'", "busy", n);
    const heard = [];
    try {
      for await (const result of gathering) heard.push(result);
      assert.equal(heard.length, await gathering.expected);
    } catch (error) {
      if (!mayEnd.includes(error.code)) throw error;
    }
    assert.equal(new Set(heard.map(({ sessionId }) => sessionId)).size, heard.length, "each session once");
    for (const { sessionId, value, error } of heard) {
      assert.ok(everyId.has(sessionId));
      if (error) assert.ok(mayFail.includes(error.code), error.stack);
      else assert.equal(value, n);
    }
    return heard.length;
  }

  const sender = await open(t, busy);
  await Promise.all(Array.from({ length: 8 }, join));
  const asked = [];
  for (let n = 0; n < 300; n += 1) {
    // Some of the senders leave while they wait.
    asked.push(ask(random() < 0.8 ? sender : pick([...members]).session, n));
    const chance = random();
    if (chance < 0.15) await join();
    else if (chance < 0.25 && members.size > 3) leave();
    else if (chance < 0.3 && members.size > 3) await leave();
    else if (chance < 0.5) await sender.ping();
  }
  const heard = await Promise.all(asked);
  assert.ok(heard.reduce((sum, count) => sum + count) > 500);
  // Nobody was lost, and nobody stays who should not, once the broker has noticed the last cut.
  let left;
  do left = await sender.messaging.sendRequestToFilter("room is 'busy'", "none", 0);
  while (left > members.size);
  assert.equal(left, members.size);
});
