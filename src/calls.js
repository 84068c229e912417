// Calls: what an application has started and waits for, each under the number by which the client in Rust knows it.

import { callSite, MessagingError, seenFrom } from "./error.js";
import { isFunction } from "./options.js";
import { Deferred, whenAborted } from "./platform.js";
import { decode, errorOf } from "./value.js";

/** One call; its promise is what the application has. */
export class Call extends Deferred {
  /** Whether more may come after its first outcome. */
  staysOpen = false;
  /** The data type to which a value is converted, 0 for as it is. */
  responseCode = 0;
  /** Makes of a response that is no value what was promised. */
  read;
  /** Called with why, if it fails. */
  failed;
  /** Says more in the message of an error that it fails with. */
  explain;
  /** What it fails with if the session ends before it begins again. */
  lastError;
  /** Keeps it from beginning again, and nothing of it is left. */
  stopWaiting;
  /** Gives a value that arrived, or a promise of it, if it is what was agreed. */
  check;
  number;
  #stopListening;

  /** `site` is where the application called. */
  constructor(site) {
    super();
    this.site = site;
  }

  /** Begins again, later, because of an error; or returns the error with which it fails. */
  tryAgain(error) {
    return error;
  }

  /** A value has arrived. */
  answer(value) {
    const checked = this.check ? this.check(value) : value;
    // Values from the wire are not waited for: they hold no functions.
    if (isFunction(checked?.then)) checked.then(this.resolve, (error) => this.fail(error));
    else this.resolve(checked);
  }

  /** Rejects the promise with an error that shows where the application called. */
  fail(error) {
    this.reject(seenFrom(this.site, error, this.explain));
    this.failed?.(error);
  }

  /** Nothing more will come of it: because of `error`, or because all has come. */
  end(error) {
    this.#stopListening?.();
    this.stopWaiting?.();
    if (error !== undefined) this.reject(error);
  }

  /** Calls `abort` with its reason when the signal is aborted before the end. */
  listenTo(signal, abort) {
    const [stopBefore, stop] = [this.#stopListening, whenAborted(signal, abort)];
    this.#stopListening = () => {
      stopBefore?.();
      stop();
    };
  }

  /** Lets the browser's tools show a request. */
  measure(path) {
    const start = performance.now();
    const measure = (outcome) => keepMeasure(`antiphon ${path}`, { start, detail: { path, outcome } });
    this.promise.then(
      () => measure("ok"),
      (error) => measure(error instanceof MessagingError ? error.code : "ABORTED"),
    );
  }
}

/** Measures that are kept at a time: the platform would keep all of them. */
const MAX_MEASURES = 1000;
/** Names of those that were made since they were last cleared. */
let measured = [];

function keepMeasure(name, details) {
  if (measured.length === MAX_MEASURES) {
    for (const old of new Set(measured)) performance.clearMeasures(old);
    measured = [];
  }
  measured.push(name);
  performance.measure?.(name, details);
}

/** The calls of a session that are not over. */
export class Calls {
  #open = new Map();
  #last = 0;

  /** What the client tells of calls: see `ClientListener` in boundary.ts. */
  listener = {
    callAnswered: (number, code, name, bytes) => {
      const call = this.#ended(number);
      try {
        call?.answer(decode(code, name, bytes, call.responseCode));
      } catch (error) {
        call.fail(error);
      }
    },
    callEnded: (number, response) => {
      const call = this.#ended(number);
      call?.resolve(call.read ? call.read(response) : response);
    },
    callFailed: (number, error) => {
      const call = this.#open.get(number);
      const failed = call?.tryAgain(errorOf(error));
      if (!failed) return;
      this.#remove(number);
      call.fail(failed);
      call.end(failed);
    },
    filterAnswered: (number, ...response) => this.#open.get(number)?.respond(...response),
    filterFailed: (number, session, received, expected, error) =>
      this.#open.get(number)?.respondNot(session, received, expected, errorOf(error)),
    filterEnded: (number, error) => this.#remove(number)?.end(error && errorOf(error)),
  };

  /**
   * Makes a call; returns its promise.
   *
   * @param start is given the call and begins it; what it throws is the outcome
   * @param Type its class: `Call`, or one derived from it
   * @param site where the application called, if that is not under way
   */
  make(start, Type = Call, site = callSite()) {
    const call = new Type(site);
    this.#begin(call, start);
    return call.promise;
  }

  /** Begins a call again, under another number, unless it has come to its end. */
  again(call, start) {
    if (this.#remove(call.number)) this.#begin(call, start);
  }

  #begin(call, start) {
    this.#last += 1;
    call.number = this.#last;
    this.#open.set(call.number, call);
    try {
      start(call);
    } catch (error) {
      this.#remove(call.number);
      call.fail(error);
      call.end(error);
    }
  }

  /** From now on the signal ends the call; `abandon` is told of that, with its number. */
  abortBy(signal, call, abandon) {
    call.listenTo(signal, (reason) => this.giveUp(call, abandon, reason));
  }

  /** Nothing more is to come of the call, because of `reason` if there is one. */
  giveUp(call, abandon, reason) {
    this.#remove(call.number);
    call.end(reason);
    abandon(call.number);
  }

  /** No call comes to anything any more; `error` makes an error for each. Without it, all have failed that do not wait to begin again. */
  failAll(error) {
    for (const call of this.#open.values()) {
      const failed = error ? error() : call.lastError;
      call.fail(failed);
      call.end(failed);
    }
    this.#open.clear();
  }

  /** The call that has its outcome now. */
  #ended(number) {
    const call = this.#open.get(number);
    if (call?.staysOpen) return call;
    this.#open.delete(number);
    call?.end();
    return call;
  }

  #remove(number) {
    const call = this.#open.get(number);
    this.#open.delete(number);
    return call;
  }
}
