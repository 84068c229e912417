// Repeats a request that came to nothing, where that does no harm (rules K-8, K-9).

import { MessagingError, textOf } from "./error.js";
import { milliseconds } from "./options.js";

/** After which errors another attempt may come to something else. */
const REPEATED = ["NOT_CONNECTED", "BUSY"];
/** The same of requests with a key: what the broker remembers of it is not this. */
const REPEATED_WITH_KEY = ["CONNECTION_LOST", "REQUEST_TIME_OUT", ...REPEATED];
/** For how long a broker remembers what became of a key, at least, in milliseconds (rules K-4). */
const REMEMBERED = 120_000;
/** In milliseconds; timers cannot be set to much more. */
const LONGEST_WAIT = 1e9;

/**
 * Begins a call by `send`, which is told for how long it may take and whether it may wait for a connection; and again when
 * it has failed, if `retry` of the options allows it.
 */
export function sendRepeatedly({ calls, life }, call, { retry, key, timeout, wait }, send) {
  const start = performance.now();
  let made = 0;
  /** The last error after which the request may have been handled. */
  let doubt;
  let keeper;
  const left = (most) => start + Math.min(timeout, most) - performance.now();
  const attempt = () => {
    // Nobody else knows the key.
    if (doubt && keeper !== life.keeper) throw doubt;
    const remaining = left(Infinity);
    // A timer may be late.
    if (made > 0 && remaining <= 0) throw call.lastError;
    keeper = life.keeper;
    made += 1;
    // While it waits, the broker may become another one.
    try {
      send(remaining, wait && !doubt);
    } catch (error) {
      // It says that this attempt was not sent, and nothing of those before.
      throw doubt ?? error;
    }
  };
  call.tryAgain = (error) => {
    const { code, outcome } = error;
    if (key && outcome === "unknown") doubt = error;
    call.lastError = (outcome === "not-sent" && doubt) || error;
    if (made < retry.attempts && (key ? REPEATED_WITH_KEY : REPEATED).includes(code)) {
      try {
        const { backoff } = retry;
        const delay = backoff
          ? milliseconds("retry.backoff", backoff(made) ?? NaN)
          : Math.random() * Math.min(5000, 50 * 2 ** made);
        if (delay < left(doubt ? REMEMBERED : LONGEST_WAIT)) {
          // Of Node.js: the session keeps the program running, and not what waits for nothing when it is over.
          setTimeout(() => calls.again(call, attempt), delay).unref?.();
          return undefined;
        }
      } catch (thrown) {
        return new MessagingError("INVALID_ARGUMENT", textOf(thrown), call.lastError.outcome, { cause: thrown });
      }
    }
    return call.lastError;
  };
  attempt();
}
