// What the tests of the public surface share: a broker, errors, and sessions that answer a gathering.

import assert from "node:assert/strict";
import { after } from "node:test";
import { startBroker } from "../../support/broker.mjs";
import { filterFor, openAll } from "../support/client.mjs";

export const broker = await startBroker();
after(() => broker.stop());

export const unhandled = { code: "UNHANDLED_MESSAGE", reason: 109, outcome: "refused" };
export const invalid = { code: "INVALID_ARGUMENT", outcome: "not-sent" };

/** A session that sends, and one that answers for each of `answers`: a value, or a function. */
export async function crowd(t, answers) {
  const [asker, ...sessions] = await openAll(t, broker, answers.length + 1);
  for (const [index, { messaging }] of sessions.entries()) {
    const answer = answers[index];
    messaging.addStreamHandler("g", typeof answer === "function" ? answer : () => answer, { addressed: true });
  }
  const gather = (given) => asker.messaging.gather(filterFor(...sessions), "g", null, given);
  return { asker, sessions, gather };
}

/** What a gathering gives until it throws, and what it throws. */
export async function untilThrown(gathering) {
  const results = [];
  try {
    for await (const result of gathering) results.push(result);
  } catch (error) {
    return { results, error };
  }
  return assert.fail("the gathering ended without an error");
}

export const never = () => new Promise(() => {});
