// The handlers of a session by number, and the requests that they are answering. Which of them answers a request is
// decided by the client in Rust.

import { messagingError } from "./error.js";
import { RequestContext } from "./handler.js";
import { WARN } from "./platform.js";
import { REASON_CALLBACK_EXCEPTION, REASON_INVALID_DATA } from "./tables.js";
import { typeName } from "./value.js";

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
    requested: (request, handler, path, sender, properties, code, name, bytes) => {
      const context = new RequestContext(path, sender, properties, code === 0 ? name : typeName(code));
      this.#answering.set(request, context);
      const respond = (answer) => this.#respond(request, path, answer);
      this.#handlers.get(handler).answer(context, code, name, bytes, respond);
    },
    requestAbandoned: (request, error) => this.#abandon(request, messagingError(...error)),
    handlerLost: (number) => {
      // Another stream may have taken the place of a stream, which is nothing to warn of.
      if (!this.#handlers.get(number)?.isStream) this.#log(WARN, "a request handler is no longer registered");
      this.remove(number);
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

  has(number) {
    return this.#handlers.has(number);
  }

  remove(number) {
    this.#handlers.delete(number);
  }

  clear() {
    this.#handlers.clear();
  }

  /** No answer can be delivered any more; `reason` says why. */
  abandonAll(reason) {
    for (const request of [...this.#answering.keys()]) this.#abandon(request, reason);
  }

  #abandon(request, reason) {
    const context = this.#answering.get(request);
    this.#answering.delete(request);
    if (context !== undefined) RequestContext.abandon(context, reason);
  }

  #respond(request, path, { reason, text, code, bytes }) {
    this.#answering.delete(request);
    // Not what it threw: that may be anything.
    if (reason in FAULTS) this.#log(WARN, `the request handler for ${path} failed: ${FAULTS[reason]}`);
    const { port } = this.#client;
    const refusal = bytes ? this.#client.tooLarge(bytes) : text;
    if (refusal === undefined) port?.respond(request, code, bytes);
    else port?.refuse(request, reason ?? REASON_CALLBACK_EXCEPTION, refusal);
  }
}

/** Reasons for which an answer is worth a line on the console. */
const FAULTS = {
  [REASON_CALLBACK_EXCEPTION]: "CALLBACK_EXCEPTION",
  [REASON_INVALID_DATA]: "INVALID_DATA",
};
