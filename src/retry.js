// Repeats a request that came to nothing, where that does no harm (rules K-8, K-9).

import { MessagingError, textOf } from "./error.js";
import { milliseconds } from "./options.js";

/**
 * The errors after which another attempt may come to something else. Where it is not known whether the request was handled,
 * it needs a key: what the broker remembers under that is none of these.
 */
const REPEATED = ["NOT_CONNECTED", "BUSY", "CONNECTION_LOST", "REQUEST_TIME_OUT"];
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
  /** Those that were sent, and the one that may be under way. */
  let made = 0;
  /** The last error after which the request may have been handled. */
  let doubt;
  let keeper;
  const left = (most) => start + Math.min(timeout, most) - performance.now();
  const leftToRepeat = () => left(doubt ? REMEMBERED : LONGEST_WAIT);
  const attempt = () => {
    // Nobody else knows the key.
    if (doubt && keeper !== life.keeper) throw doubt;
    // A timer may be late, or the session over.
    if (call.lastError && (leftToRepeat() <= 0 || life.state === "closed")) throw call.lastError;
    keeper = life.keeper;
    made += 1;
    // Later attempts wait here: while they do, the broker may become another one.
    send(left(Infinity), wait && !call.lastError);
  };
  call.explain = (error) => {
    // Not what was left of it at last.
    if (error.code === "TIMED_OUT") error.message = error.message.replace(/\d+/, Math.floor(timeout));
    if (made > 1) error.message += ` (${made} attempts)`;
  };
  call.tryAgain = (error) => {
    const { code, outcome } = error;
    // Nothing was sent, so it was no attempt; but without repeats it is the end.
    const isUnsent = code === "NOT_CONNECTED" && retry.attempts > 1;
    if (isUnsent) made -= 1;
    if (outcome === "unknown") doubt = error;
    call.lastError = (outcome === "not-sent" && doubt) || (isUnsent && call.lastError) || error;
    if (made < retry.attempts && REPEATED.includes(code) && (key || doubt !== error)) {
      try {
        const { backoff } = retry;
        const most = leftToRepeat();
        let delay = Math.random() * Math.min(5000, 50 * 2 ** made);
        if (isUnsent) delay = most;
        else if (backoff) delay = milliseconds("retry.backoff", backoff(made) ?? NaN);
        if (delay <= most) {
          const again = () => {
            call.stopWaiting();
            calls.again(call, attempt);
          };
          call.stopWaiting = () => {
            clearTimeout(timer);
            life.awaiting.delete(again);
          };
          const timer = setTimeout(again, delay);
          // Of Node.js: the session keeps the program running, and not what waits for nothing when it is over.
          timer.unref?.();
          if (isUnsent) life.awaiting.add(again);
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
