// What the tests of reconnection share: a broker, ways to lose a connection, and what a session tells of it.

import assert from "node:assert/strict";
import { after } from "node:test";
import { connect } from "antiphon";
import { startBroker } from "../../support/broker.mjs";
import { startCutter } from "../../support/cutter.mjs";
import { addressOf, assertError, collect, fails, options, thrown } from "../support/client.mjs";
import { startServer } from "../support/endpoint.mjs";

export const broker = await startBroker(["--log", "trace"]);
after(() => broker.stop());

export const OTHER_ID = "00000000000000ac-0000000000000001";
export const EVENTS = ["statechange", "disconnect", "messageloss", "reconnect", "close"];
export const notConnected = { code: "NOT_CONNECTED", outcome: "not-sent" };
export const connectionLost = { code: "CONNECTION_LOST", outcome: "unknown" };
export const closedUnsent = { code: "SESSION_CLOSED", outcome: "not-sent" };
export const unhandled = { code: "UNHANDLED_MESSAGE", reason: 109, outcome: "refused" };
export const closedUnanswered = { code: "SESSION_CLOSED", outcome: "unknown" };

/** Tries again at once. */
export const soon = { delay: () => 1 };

/** A session that reconnects, which is closed when the test `t` is over. */
export async function open(t, server, { reconnect = soon, ...given } = {}) {
  const session = await connect(addressOf(server), { ...options, reconnect, ...given });
  t.after(() => session.close());
  return session;
}

export async function cutter(t, to = broker) {
  const between = await startCutter(to);
  t.after(() => between.stop());
  return between;
}

export async function scripted(t, ...script) {
  const server = await startServer(undefined, script);
  t.after(() => server.stop());
  return server;
}

export async function anotherBroker(t, ...args) {
  const another = await startBroker(args);
  t.after(() => another.stop());
  return another;
}

/** What listeners of a session are told from now on: `[event, detail]`. */
export function record(session) {
  const told = [];
  for (const event of EVENTS) session.on(event, (detail) => told.push([event, detail]));
  return told;
}

/** Asserts that requests, which are the numbers from 0 on, have their own answers, and that each was handled once. */
export function assertEachOnce(answers, handled) {
  assert.deepEqual(answers, [...answers.keys()]);
  assert.deepEqual(
    handled.toSorted((a, b) => a - b),
    answers,
  );
}

/** The next event of this name. */
export function next(session, event) {
  return new Promise((resolve) => {
    const stop = session.on(event, (detail) => {
      stop();
      resolve(detail);
    });
  });
}

/** Loses the connections of `between` and waits until `session` has another one. */
export async function cutAndReturn(between, session) {
  const back = next(session, "reconnect");
  between.cut();
  return back;
}

/** Keeps `session` from a connection until `between` is opened. */
export async function loseFor(between, session) {
  const lost = next(session, "disconnect");
  between.shut();
  await lost;
}

export const closedBy =
  (code, from = "recovering") =>
  (told) => {
    assert.deepEqual(
      told.map(([event]) => event),
      ["statechange", "close"],
    );
    assert.deepEqual(told[0][1], { from, to: "closed" });
    assert.equal(told[1][1].code, code);
  };

/** Calls every method that needs a connection; each rejects, or throws, with the same error. */
export async function rejectsEverywhere(session, expected, { local = expected } = {}) {
  const { messaging } = session;
  const calls = [
    messaging.sendRequestToPath("a", 1),
    messaging.sendRequestToSession("a", session.id, 1),
    messaging.sendRequestToFilter("all", "a", 1),
    messaging.addRequestHandler("a", () => 1),
    messaging.countSessions("all"),
    messaging.findHandlers("a"),
    messaging.watchHandlers("a", () => {}),
    messaging.gather("all", "a", 1).expected,
    collect(messaging.gather("all", "a", 1)),
    messaging.services.USER_PING.invoke(new Uint8Array()),
    session.ping(),
    session.getProperties(),
    session.changePrincipal("admin", "password"),
  ];
  await Promise.all(calls.map((call) => fails(call, expected)));
  if (!local) return;
  for (const call of [
    () => messaging.addStreamHandler("a", () => 1),
    () => messaging.addFilterResponseHandler("all", () => {}),
  ]) {
    assertError(thrown(call), local);
  }
}

/** A call of each kind that waits for an answer. */
export const outstanding = (session) => [
  session.messaging.sendRequestToPath("a", 1),
  session.messaging.sendRequestToSession("a", session.id, 1),
  session.messaging.sendRequestToFilter("all", "a", 1),
  session.messaging.gather("all", "a", 1).expected,
  collect(session.messaging.gather("all", "a", 1)),
  session.messaging.addRequestHandler("a", () => 1),
  session.messaging.services.USER_PING.invoke(new Uint8Array()),
  session.ping(),
  session.getProperties(),
  session.changePrincipal("admin", "password"),
];
