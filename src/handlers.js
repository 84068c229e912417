// The handlers of a session by number, and the requests that they are answering. Which of them answers a request is
// decided by the client in Rust.

import { messagingError } from "./error.js";
import { RequestContext } from "./handler.js";
import { bytesAlong, NONE } from "./options.js";
import { ERROR, WARN } from "./platform.js";
import { REASON_CALLBACK_EXCEPTION, REASON_INVALID_DATA } from "./tables.js";
import { typeName } from "./value.js";

/** Most bytes of the details of an error, which brokers pass on. */
const MAX_DETAILS_BYTES = 65_536;

/** The handlers of a session. */
export class Handlers {
  #client;
  #log;
  #handlers = new Map();
  #last = 0;
  /** Contexts of the requests that are being answered. */
  #answering = new Map();

  /** What the client tells of requests: see `ClientListener` in boundary.ts. */
  listener = {
    requested: (request, handler, path, sender, properties, code, name, bytes, timeLeft, key, metadata) => {
      const requestType = code === 0 ? name : typeName(code);
      const context = new RequestContext(path, sender, properties, requestType, timeLeft, key, metadata);
      this.#answering.set(request, context);
      const respond = (answer) => this.#respond(request, context, answer);
      this.#handlers.get(handler).answer(context, code, name, bytes, respond);
    },
    requestAbandoned: (request, error) => this.#abandon(request, messagingError(...error)),
    handlerLost: (number) => {
      const handler = this.remove(number);
      // Another stream may have taken the place of a stream, which is nothing to warn of.
      if (handler?.isStream === false) {
        this.#log(WARN, `the request handler for ${handler.path} is no longer registered`);
      }
    },
  };

  constructor(client, log) {
    this.#client = client;
    this.#log = log;
  }

  /** Keeps a handler; returns the number by which the client knows it. */
  add(handler) {
    this.#last += 1;
    this.#handlers.set(this.#last, handler);
    return this.#last;
  }

  /** Takes a handler out, and returns it; undefined if it is gone already. */
  remove(number) {
    const handler = this.#handlers.get(number);
    this.#handlers.delete(number);
    handler?.gone();
    return handler;
  }

  clear() {
    for (const number of this.#handlers.keys()) this.remove(number);
  }

  /** No answer can be delivered any more; `reason` says why. */
  abandonAll(reason) {
    for (const request of [...this.#answering.keys()]) this.#abandon(request, reason);
  }

  #abandon(request, reason) {
    const context = this.#answering.get(request);
    this.#answering.delete(request);
    if (context === undefined) return;
    // Not if its sender had less patience.
    if (reason.code === "TIMED_OUT" && !reason.reason) {
      this.#log(WARN, `the request handler for ${context.path}: ${reason.message}`);
    }
    RequestContext.abandon(context, reason);
  }

  #respond(request, context, { reason = REASON_CALLBACK_EXCEPTION, text, details, thrown, code, bytes }) {
    this.#answering.delete(request);
    const { port } = this.#client;
    const refusal = bytes ? this.#client.tooLarge(bytes) : text;
    if (refusal === undefined) {
      port?.respond(request, code, bytes);
      return;
    }
    const failed = `the request handler for ${context.path} failed:`;
    if (reason === REASON_INVALID_DATA) this.#log(WARN, `${failed} INVALID_DATA`);
    // Its developer sees where. But what `signal` has stopped is nothing to see.
    else if (reason === REASON_CALLBACK_EXCEPTION && !RequestContext.isStopped(context, thrown)) {
      this.#log(ERROR, failed, thrown ?? refusal);
    }
    port?.refuse(request, reason, refusal, this.#bytesOf(details, failed));
  }

  /** The bytes of the details of an error; none of what cannot be sent, which must not keep the error from its sender. */
  #bytesOf(details, failed) {
    try {
      if (details !== undefined) return bytesAlong("details have", details, MAX_DETAILS_BYTES);
    } catch (error) {
      this.#log(ERROR, failed, "details", error);
    }
    return NONE;
  }
}
