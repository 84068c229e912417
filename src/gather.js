// Iterates over the responses to a request to a session filter.

import { MessagingError, seenFrom } from "./error.js";
import { Collector } from "./filter-calls.js";
import { isAbortSignal, members, optional, REQUEST_OPTIONS } from "./options.js";
import { Deferred, whenAborted } from "./platform.js";

/** Sends a request to a filter at once; returns its responses, to be iterated over as they arrive. `site` is the caller. */
export function gather(messaging, site, filter, path, request, options) {
  const results = []; // that nobody has taken yet
  const stop = new AbortController();
  let changed = new Deferred();
  let end; // `{ error }` once nothing more will come
  let [values, received] = [0, 0];
  let count; // of the sessions that match, once it is known
  let atLeast;
  let listenNoMore;

  function finish(error) {
    if (end) return;
    end = { error };
    listenNoMore?.();
    stop.abort(error); // the rest of the responses is of no interest
    changed.resolve();
  }

  function notEnough() {
    const text = `only ${values} of the ${count ?? 0} matching sessions gave a response, at least ${atLeast} are needed`;
    return seenFrom(site, new MessagingError("NOT_ENOUGH", text, "unknown"));
  }

  /** Whether there can still be as many responses as are wanted. */
  function check() {
    if (values + count - received < atLeast) finish(notEnough());
  }

  function take({ sessionId, value, error, ...numbers }) {
    if (end) return;
    // The count may be known here sooner than its promise settles.
    received = numbers.received;
    count = numbers.expected || count;
    if (error === undefined) values += 1;
    results.push(error === undefined ? { sessionId, value } : { sessionId, error });
    if (values === atLeast) finish();
    else check();
    changed.resolve();
    changed = new Deferred();
  }

  function send() {
    const { atLeast: enough, ...given } = members(options, [...REQUEST_OPTIONS, "atLeast"]);
    const isCount = (number) => Number.isSafeInteger(number) && number > 0;
    atLeast = optional("atLeast", enough, "a whole number of responses, at least 1", isCount);
    if (isAbortSignal(given.signal) && !given.signal.aborted) {
      listenNoMore = whenAborted(given.signal, finish);
      given.signal = stop.signal;
    }
    given.signal ??= stop.signal;
    const onResponse = new Collector(take, (error) => {
      finish(error ?? (values < atLeast ? notEnough() : undefined));
    });
    return messaging.sendRequestToFilter(filter, path, request, { ...given, onResponse });
  }

  // What is wrong with the arguments is an error of the promise and of the iteration.
  let sent;
  try {
    sent = send();
  } catch (error) {
    sent = Promise.reject(error);
  }
  const expected = sent.then(
    (number) => {
      count = number;
      check();
      return number;
    },
    (thrown) => {
      const error = seenFrom(site, thrown);
      finish(error);
      throw error;
    },
  );
  expected.catch(() => {}); // nobody has to look at it

  return {
    expected,
    async next() {
      while (results.length === 0 && !end) await changed.promise;
      if (results.length > 0) return { value: results.shift(), done: false };
      const { error } = end;
      end = {};
      if (error !== undefined) throw error;
      return { value: undefined, done: true };
    },
    async return(value) {
      finish();
      end = {};
      results.length = 0;
      return { value, done: true };
    },
    [Symbol.asyncIterator]() {
      return this;
    },
  };
}
