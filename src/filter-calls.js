// Requests to session filters: the functions that take the responses, which come one by one.

import { Call } from "./calls.js";
import { seenFrom } from "./error.js";
import { callable, isFunction, isMissing } from "./options.js";
import { report, whenAborted } from "./platform.js";
import { decode } from "./value.js";

/** A request to a session filter: its promise is for the number of sessions, the responses go to a handler. */
export class FilterCall extends Call {
  staysOpen = true;
  #filter;
  #path;
  #handler;
  /** Settles when all that came before was told; undefined while nothing had to be waited for. */
  #turn;

  /** `onResponse` takes the responses, or else what `handlers` have for the filter when one comes. */
  expectResponses(filter, path, onResponse, handlers) {
    const own = isMissing(onResponse) ? undefined : callable(onResponse, "onResponse");
    this.#filter = filter;
    this.#path = path;
    this.#handler = () => own ?? handlers.get(filter);
  }

  /** A session has answered; `bytes` are readable only until this returns. */
  respond(sessionId, received, expected, code, name, bytes) {
    let checked;
    try {
      const value = decode(code, name, bytes, this.responseCode);
      checked = this.check ? this.check(value) : value;
    } catch (error) {
      this.respondNot(sessionId, received, expected, error);
      return;
    }
    this.#inTurn(
      checked,
      (value) => this.#tell("response", sessionId, { value, received, expected }),
      (error) => this.#tell("error", sessionId, { error, received, expected }),
    );
  }

  /** A session has not answered, or with what cannot be read; `error` says why. */
  respondNot(sessionId, received, expected, error) {
    this.#inTurn(undefined, () => this.#tell("error", sessionId, { error, received, expected }));
  }

  /** Calls `tell` with a value, or `refuse` with why there is none, when that is known and all before it was told. */
  #inTurn(value, tell, refuse) {
    if (!this.#turn && !isFunction(value?.then)) {
      tell(value);
      return;
    }
    this.#turn = Promise.allSettled([value, this.#turn]).then(([{ status, value, reason }]) => {
      if (status === "rejected") refuse(reason);
      else tell(value);
    });
  }

  #tell(event, sessionId, details) {
    const handler = this.#handler();
    if (handler === undefined) return;
    seenFrom(this.site, details.error);
    const response = { sessionId, filter: this.#filter, path: this.#path, ...details };
    try {
      const result = isFunction(handler) ? handler(response) : handler.handle(event, response);
      // An asynchronous handler is none of ours to wait for, but its error must not be lost.
      if (isFunction(result?.then)) Promise.resolve(result).catch(report);
    } catch (error) {
      report(error);
    }
  }

  end(error) {
    super.end(error);
    const handler = this.#handler?.();
    // Only those who gather want to know; after the promise of the count.
    if (handler instanceof Collector) Promise.resolve(this.#turn).then(() => handler.end(error));
  }
}

/** What takes the responses to requests to a filter, by its text. */
export class FilterHandlers {
  #added = new Map();

  get(filter) {
    return this.#added.get(filter)?.handler;
  }

  /** Adds a handler, in place of another; returns the function that takes it out, which the signal calls as well. */
  add(filter, handler, signal) {
    // Not the function itself, which may be added again.
    const added = { handler };
    const close = () => this.#remove(filter, added);
    if (!signal?.aborted) {
      this.#remove(filter, this.#added.get(filter));
      this.#added.set(filter, added);
      added.stopListening = signal && whenAborted(signal, close);
    }
    return close;
  }

  clear() {
    for (const [filter, added] of this.#added) this.#remove(filter, added);
  }

  #remove(filter, added) {
    added?.stopListening?.();
    if (this.#added.get(filter) === added) this.#added.delete(filter);
  }
}

/** Takes the responses to one request, and is told when no more will come. */
export class Collector {
  constructor(take, end) {
    this.handle = (_, response) => take(response);
    this.end = end;
  }
}
