// What the tests of the rules need of our own client, which they use through the package.

import assert from "node:assert/strict";
import { connect, MessagingError } from "antiphon";
import { WebSocket } from "ws";

/** Whether sessions batch what they send. Some files run once more without it: `scripts/test.mjs` says which. */
const batching = process.env.ANTIPHON_BATCHING !== "off";

/** By which door: the same. */
const door = process.env.ANTIPHON_DOOR ?? "/diffusion";

/** The address of a server whose own is that of the official door. */
export const addressOf = ({ url }) => url.replace(/\/diffusion$/, door);

/** For tests of what happens while there is a connection, and when there is none any more: nothing is recovered. */
export const options = { webSocket: WebSocket, log: "off", reconnect: false, batching };

/** A session that is closed when the test `t` is over. */
export async function open(t, server, given = {}) {
  const session = await connect(addressOf(server), { ...options, ...given });
  t.after(() => session.close());
  return session;
}

/** As many sessions. */
export function openAll(t, server, count, given) {
  return Promise.all(Array.from({ length: count }, () => open(t, server, given)));
}

/** Asserts that an error says exactly this; one without `reason` must have none. Returns it. */
export function assertError(error, { code, reason, outcome, message }) {
  assert.ok(error instanceof MessagingError, `not a MessagingError: ${error?.stack ?? error}`);
  assert.deepEqual(
    { code: error.code, reason: error.reason, outcome: error.outcome },
    { code, reason, outcome },
    error.message,
  );
  if (typeof message === "string") assert.equal(error.message, message);
  else if (message) assert.match(error.message, message);
  return error;
}

/** Asserts that a promise rejects with exactly this error. */
export async function fails(promise, expected) {
  return assertError(await rejection(promise), expected);
}

/** What a promise rejects with. */
export function rejection(promise) {
  return promise.then(
    (value) => assert.fail(`resolved with ${typeof value === "object" ? JSON.stringify(value) : String(value)}`),
    (error) => error,
  );
}

/** What a call throws. */
export function thrown(call) {
  try {
    call();
  } catch (error) {
    return error;
  }
  return assert.fail("nothing was thrown");
}

/** Whether a promise is settled by the time that everything which can happen now has happened. */
export async function isSettled(promise) {
  const pending = Symbol("pending");
  return (await Promise.race([promise, new Promise((resolve) => setImmediate(resolve, pending))])) !== pending;
}

/** A promise with the function that resolves it. */
export function gate() {
  let open;
  const opened = new Promise((resolve) => {
    open = resolve;
  });
  return { opened, open };
}

/** A filter that only these sessions match. */
export const filterFor = (...sessions) => `$SessionId in [${sessions.map(({ id }) => `'${id}'`).join(" ")}]`;

/** Everything that a gathering gives, until it ends or throws. */
export async function collect(gathering) {
  const results = [];
  for await (const result of gathering) results.push(result);
  return results;
}

let names = 0;

/** A name that no other test uses. */
export function unique(name) {
  names += 1;
  return `${name}-${names}`;
}

/** Numbers below 1 that depend on the seed alone (mulberry32); not for secrets. */
export function randomNumbers(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** `ANTIPHON_SEED`, or another one each time; whoever uses it prints it. */
export function seed() {
  return Number(process.env.ANTIPHON_SEED ?? Math.floor(Math.random() * 2 ** 32));
}
