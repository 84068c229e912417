// Rules S-2 and S-3: the token, the states and the events of a session whose connection is lost and comes back.

import assert from "node:assert/strict";
import { test } from "node:test";
import { WebSocket } from "ws";
import { readConnectionResponse } from "../../support/wire.mjs";
import { gate, rejection } from "../support/client.mjs";
import {
  broker,
  closedBy,
  closedUnsent,
  cutAndReturn,
  cutter,
  EVENTS,
  loseFor,
  next,
  open,
  record,
  rejectsEverywhere,
  soon,
} from "./support.mjs";

const connectedAgain = (lossless, newSession) => [
  ["statechange", { from: "recovering", to: "connected" }],
  ["reconnect", { lossless, newSession }],
];

test("S-2 the token is presented to the broker, and shown to nobody else while the session recovers", async (t) => {
  const tokens = new Set();
  const addresses = [];
  class Watched extends WebSocket {
    constructor(url, ...args) {
      super(url, ...args);
      addresses.push(new URL(url));
      this.once("message", (bytes) => tokens.add(readConnectionResponse(Buffer.from(bytes)).token));
    }
  }
  const lines = [];
  for (const level of ["log", "debug", "info", "warn", "error"]) {
    t.mock.method(console, level, (...args) => lines.push(args.map(String).join(" ")));
  }
  const between = await cutter(t);
  const session = await open(t, between, { webSocket: Watched, log: "trace", reconnect: { timeout: 1500, ...soon } });
  const told = record(session);
  await cutAndReturn(between, session);
  const properties = await session.getProperties();
  await loseFor(between, session);
  const error = await rejection(session.ping());
  const info = await session.closed;
  const [token] = tokens;
  assert.equal(tokens.size, 1);
  assert.equal(addresses[0].searchParams.get("c"), null);
  for (const { searchParams } of addresses.slice(1)) assert.equal(searchParams.get("c"), token);
  assert.ok(lines.length > 0);
  const seen = [broker.log(), ...lines, error.stack, JSON.stringify([told, info, properties])].join("\n");
  assert.ok(!seen.includes(token) && !seen.includes(encodeURIComponent(token)));
});

test("S-3 a connection that is lost and found again shows as states and events in this order", async (t) => {
  const between = await cutter(t);
  const session = await open(t, between);
  const told = record(session);
  const states = [];
  for (const event of EVENTS) session.on(event, () => states.push(session.state));
  await cutAndReturn(between, session);
  const [, [, { reason }]] = told;
  assert.match(reason, /^the connection was lost: the WebSocket to ws:\/\/127\.0\.0\.1:\d+\/diffusion was closed/);
  assert.deepEqual(told, [
    ["statechange", { from: "connected", to: "recovering" }],
    ["disconnect", { reason }],
    ...connectedAgain(true, false),
  ]);
  assert.deepEqual(states, ["recovering", "recovering", "connected", "connected"]);
  told.length = 0;
  await session.close();
  closedBy("CLOSED_BY_CLIENT", "connected")(told);
});

test("S-3 attempts that fail change no state, and one outage is one disconnect", async (t) => {
  const between = await cutter(t);
  const attempts = [];
  const fifth = gate();
  const delay = (attempt) => {
    attempts.push(attempt);
    if (attempt === 5) fifth.open();
    return 1;
  };
  const session = await open(t, between, { reconnect: { delay } });
  const told = record(session);
  between.shut();
  await fifth.opened;
  const back = next(session, "reconnect");
  between.open();
  await back;
  assert.deepEqual(
    told.map(([event]) => event),
    ["statechange", "disconnect", "statechange", "reconnect"],
  );
  attempts.length = 0;
  await session.ping();
  await cutAndReturn(between, session);
  assert.deepEqual(attempts, [1], "the next outage counts anew, as the connection was of use");
});

test("S-3 a session whose time to reconnect ran out stays closed, and all its methods say so", async (t) => {
  const between = await cutter(t);
  const session = await open(t, between, { reconnect: { timeout: 50, ...soon } });
  const { id, messaging } = session;
  await loseFor(between, session);
  const told = record(session);
  assert.equal((await session.closed).code, "CONNECTION_TIMEOUT");
  closedBy("CONNECTION_TIMEOUT")(told);
  between.open();
  const accepted = between.accepted();
  await rejectsEverywhere(session, closedUnsent);
  await session.close();
  await session.close();
  assert.deepEqual([session.id, session.state, messaging], [id, "closed", session.messaging]);
  assert.equal(between.accepted(), accepted, "nothing tries to connect");
  assert.equal(told.length, 2);
});

test("S-3 with `reconnect: false` a session ends with its connection", async (t) => {
  const between = await cutter(t);
  const session = await open(t, between, { reconnect: false });
  const told = record(session);
  between.cut();
  const { code, byClient } = await session.closed;
  assert.deepEqual([code, byClient], ["CONNECTION_ERROR", false]);
  assert.deepEqual(
    told.map(([event]) => event),
    ["statechange", "disconnect", "close"],
  );
  assert.deepEqual(told[0][1], { from: "connected", to: "closed" });
  assert.equal(between.accepted(), 1);
});
