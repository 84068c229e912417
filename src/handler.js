// What a request handler is given, and how it is called. JavaScript, because an abort signal is to be made only for
// handlers that look at it.

/** What a request handler learns about a request besides its value. */
export class RequestContext {
  #controller;
  #abandoned;

  /** @param {string[]} properties keys and values, alternating */
  constructor(path, addressed, senderSessionId, properties, requestType) {
    this.path = path;
    this.addressed = addressed;
    if (senderSessionId !== undefined) this.senderSessionId = senderSessionId;
    const entries = [];
    for (let index = 0; index < properties.length; index += 2) entries.push([properties[index], properties[index + 1]]);
    // Defines the keys: one called `__proto__` is a property like any other.
    this.sessionProperties = Object.fromEntries(entries);
    this.requestType = requestType;
  }

  /** Aborted when the answer can no longer be delivered. */
  get signal() {
    if (this.#controller === undefined) {
      this.#controller = new AbortController();
      if (this.#abandoned !== undefined) this.#controller.abort(this.#abandoned);
    }
    return this.#controller.signal;
  }

  /** Tells a context that nobody waits for the answer any more; `reason` says why. */
  static abandon(context, reason) {
    context.#abandoned = reason;
    context.#controller?.abort(reason);
  }
}

/** Whether `handler` is a function, or an object with a function `handle`. */
export function isHandler(handler) {
  return typeof handler === "function" || typeof handler?.handle === "function";
}

/** Calls a request handler of either kind; returns what it returns, throws what it throws. */
export function callHandler(handler, request, context) {
  if (typeof handler === "function") return handler(request, context);
  context.request = request;
  return handler.handle("request", context);
}

/** Tells `context` that its answer can no longer be delivered. */
export function abandon(context, reason) {
  RequestContext.abandon(context, reason);
}

/** Whether a handler's result is to be waited for. Values from the wire never are: they hold no functions. */
export function isThenable(result) {
  return typeof result?.then === "function";
}
