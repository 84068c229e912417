// What each client shows its application of a failed request.

import assert from "node:assert/strict";
import { PeerError } from "./peers.mjs";

/** Error reasons: number, outcome in our client, exception in the Python client. */
const reasons = {
  SESSION_CLOSED: { number: 101, outcome: "unknown", exception: "ServiceMessageError" },
  REQUEST_TIME_OUT: { number: 102, outcome: "unknown", exception: "CancellationError" },
  ACCESS_DENIED: { number: 103, outcome: "refused", exception: "ServiceMessageError" },
  UNSUPPORTED: { number: 104, outcome: "unknown", exception: "ServiceMessageError" },
  CALLBACK_EXCEPTION: { number: 105, outcome: "failed", exception: "ServiceMessageError" },
  INVALID_DATA: { number: 106, outcome: "unknown", exception: "ServiceMessageError" },
  NO_SUCH_SESSION: { number: 107, outcome: "refused", exception: "NoSuchSessionError" },
  INCOMPATIBLE_DATATYPE: { number: 108, outcome: "refused", exception: "IncompatibleDatatypeError" },
  UNHANDLED_MESSAGE: { number: 109, outcome: "refused", exception: "UnhandledMessageError" },
  HANDLER_CONFLICT: { number: 201, outcome: "refused", exception: "HandlerConflictError" },
  REJECTED_REQUEST: { number: 9003, outcome: "failed", exception: "RejectedRequestError" },
};

/**
 * The promise of `peer` rejects for `reason`, as {@link isRefusal} says.
 *
 * @param {{ key: string }} peer
 * @param {Promise<unknown>} promise
 * @param {keyof typeof reasons} reason
 * @param {string} text what the other side said; this much is told by every client
 */
export async function refused(peer, promise, reason, text = "") {
  const error = await promise.then(
    (value) => assert.fail(`expected ${reason}, got the response ${JSON.stringify(value)}`),
    (error) => error,
  );
  isRefusal(peer, error, reason, text);
}

/** Asserts that `error` shows `reason` as far as the client of `peer` shows it, and contains `text`. */
export function isRefusal(peer, error, reason, text = "") {
  if (!(error instanceof PeerError)) throw error;
  const { type, number, outcome } = error;
  const expected = reasons[reason];
  const seen = {
    ours: [
      { type, number, outcome },
      { type: reason, number: expected.number, outcome: expected.outcome },
    ],
    js: [{ number }, { number: expected.number }],
    python: [{ type }, { type: expected.exception }],
  };
  assert.deepEqual(...seen[peer.key]);
  assert.ok(error.message.includes(text), `${JSON.stringify(error.message)} has ${JSON.stringify(text)} in it`);
}
