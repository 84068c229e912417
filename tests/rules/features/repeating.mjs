// What the tests of `retry` share.

import assert from "node:assert/strict";
import { BUSY, IDEMPOTENCY, SEND_TO_FILTER, SEND_TO_PATH, SEND_TO_SESSION } from "../../support/wire.mjs";
import { SCRIPTED_ID } from "../support/endpoint.mjs";

/** A broker that knows what `retry` is about. */
export const KNOWN = { features: BUSY | IDEMPOTENCY };

/** What a request comes to that has no place. */
export const busy = { code: "BUSY", reason: 10001, outcome: "refused" };

/** Repeats at once. */
export const atOnce = { attempts: 3, backoff: () => 0 };

/** The same with a key. */
export const keyed = { idempotencyKey: "key", retry: atOnce };

/** Sends a request, by the service that it is sent to. */
export const send = {
  [SEND_TO_PATH]: ({ messaging }, options) => messaging.sendRequestToPath("a", "question", options),
  [SEND_TO_SESSION]: ({ messaging }, options) => messaging.sendRequestToSession("a", SCRIPTED_ID, "question", options),
  [SEND_TO_FILTER]: ({ messaging }, options) => messaging.sendRequestToFilter("all", "a", "question", options),
};

/** The one that goes to a path. */
export const ask = send[SEND_TO_PATH];
export const request = { service: SEND_TO_PATH };

/** Asserts that no request comes any more. */
export async function assertNoMore(session, connection) {
  const pinged = session.ping();
  connection.respond(await connection.next({ service: 56 }));
  await pinged;
  assert.equal(connection.take(request), undefined);
}

export const late = { code: "REQUEST_TIME_OUT", reason: 102, outcome: "unknown" };
export const invalid = { code: "INVALID_ARGUMENT", outcome: "not-sent" };
