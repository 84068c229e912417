// The functions of an application that a session calls: request handlers, streams, filter response handlers. Finding the
// one that is meant, calling it, reading what it returns. JavaScript, because nearly every step of it is: values,
// promises, an abort signal only for those who look at it.

import { describeThrown } from "./error.js";
import { invalid, isFunction, isMissing, members, optional, strings, text } from "./options.js";
import { closeWhenDisposed, named, report } from "./platform.js";
import { decode, encodeAnswer, typeCode, typeName } from "./value.js";

const SESSION_CLOSED = 101;
const CALLBACK_EXCEPTION = 105;
const INVALID_DATA = 106;
const INCOMPATIBLE_DATATYPE = 108;
const UNHANDLED_MESSAGE = 109;
const REJECTED_REQUEST = 9003;

/** What a request handler learns about a request besides its value. */
class RequestContext {
  #controller;
  #abandoned;
  /** Takes the request out of the line in which it waits for its turn. */
  #leave;

  constructor(path, senderSessionId, properties, requestType) {
    this.path = path;
    // The broker says who asks only where it chose the handler.
    this.addressed = senderSessionId === "";
    if (!this.addressed) this.senderSessionId = senderSessionId;
    // Defines the keys: one called `__proto__` is a property like any other.
    this.sessionProperties = Object.fromEntries(properties ?? []);
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

  static wait(context, leave) {
    context.#leave = leave;
  }

  static abandon(context, reason) {
    context.#abandoned = reason;
    context.#controller?.abort(reason);
    context.#leave?.();
  }
}

named("RequestContext", RequestContext);

const TYPES = ["requestType", "responseType"];
const OPTIONS = [...TYPES, "maxConcurrent", "addressed", "sessionProperties", "reregister"];

/** A request handler of an application with its options, checked. */
class Handler {
  /** How many requests it is answering, or about to. */
  running = 0;
  /** Functions that start those that wait for their turn. */
  waiting = [];

  constructor(callback, options, what) {
    const { requestType, responseType, maxConcurrent, addressed, sessionProperties, reregister } = members(
      options,
      OPTIONS,
    );
    this.callback = callable(callback, what);
    // Those of the object, unless the options say otherwise.
    const own = isFunction(callback) ? {} : members(callback, TYPES);
    this.requestCode = typeCode(requestType ?? own.requestType);
    this.responseCode = typeCode(responseType ?? own.responseType);
    const isCount = (count) => count === Infinity || (Number.isInteger(count) && count >= 1);
    this.maxConcurrent = optional("maxConcurrent", maxConcurrent, "a whole number, at least 1", isCount) ?? Infinity;
    this.addressed = optional("addressed", addressed, "true or false", isBoolean) ?? false;
    this.reregister = optional("reregister", reregister, "true or false", isBoolean) ?? true;
    this.sessionProperties = isMissing(sessionProperties) ? [] : strings("sessionProperties", sessionProperties);
  }

  /** A request has been answered: another one has its turn. */
  next() {
    const start = this.waiting.shift();
    // Not at once, when it would hold up the answer.
    if (start !== undefined) queueMicrotask(start);
    else this.running -= 1;
  }
}

function isBoolean(value) {
  return typeof value === "boolean";
}

/** A function, or an object with a function `handle`. */
function callable(callback, what) {
  let cause;
  try {
    if (isFunction(callback) || isFunction(callback?.handle)) return callback;
  } catch (thrown) {
    cause = thrown;
  }
  throw invalid(`${what} must be a function, or an object with a function "handle"`, cause);
}

/** Checks a request handler of an application. */
export function requestHandler(callback, options) {
  return new Handler(callback, options, "a request handler");
}

/** Something local that can be closed; `forget` takes it out. */
class LocalRegistration {
  #forget;

  constructor(path, forget) {
    this.path = path;
    this.#forget = forget;
  }

  async close() {
    this.#forget();
  }
}

named("Registration", LocalRegistration);
closeWhenDisposed(LocalRegistration);

/** All that a session calls. */
export class Handlers {
  /** By registration: `{ handler, path, displaced }`. */
  #registered = new Map();
  /** Streams for requests that the broker chose this session for, and for addressed ones, by exact path. */
  #streams = new Map();
  #addressedStreams = new Map();
  /** By the text of the filter. */
  #filterHandlers = new Map();
  /** Contexts of the requests that are being answered, by conversation. */
  #answering = new Map();

  // ---- Request handlers and streams ----

  /** Adds a handler that the broker has accepted. */
  add(registration, path, handler) {
    this.#registered.set(registration, { handler, path, displaced: false });
    // One slot for each path: the later one answers, and closing it restores nothing.
    this.#streams.delete(path);
  }

  remove(registration) {
    this.#registered.delete(registration);
  }

  has(registration) {
    return this.#registered.has(registration);
  }

  clear() {
    for (const map of [this.#registered, this.#streams, this.#addressedStreams, this.#filterHandlers]) map.clear();
  }

  /** Adds a stream, which the broker need not know. */
  addStream(path, callback, options) {
    text("path", path);
    const handler = new Handler(callback, options, "a stream handler");
    const streams = handler.addressed ? this.#addressedStreams : this.#streams;
    streams.set(path, handler);
    if (!handler.addressed) {
      for (const registered of this.#registered.values()) registered.displaced ||= registered.path === path;
    }
    return new LocalRegistration(path, () => {
      if (streams.get(path) === handler) streams.delete(path);
    });
  }

  #find(registration, path) {
    if (registration === 0) return this.#addressedStreams.get(path);
    const registered = this.#registered.get(registration);
    const isDisplaced = registered?.displaced && registered.path === path;
    return this.#streams.get(path) ?? (isDisplaced ? undefined : registered?.handler);
  }

  /**
   * Calls the handler of a request.
   *
   * @param {number} registration 0 for an addressed request
   * @param {string} sender empty for an addressed request
   * @param {[string, string][] | undefined} properties of the sender: keys and values
   * @param {number} code data type of the request, 0 if it is one that we do not know, called `name`
   * @param {Uint8Array} bytes the request, readable only until this returns
   * @returns an answer `{ reason: 0, code, bytes }`, a refusal `{ reason, text }`, or a promise of one of them
   */
  call(registration, conversation, path, sender, properties, code, name, bytes) {
    const handler = this.#find(registration, path);
    if (handler === undefined) {
      const kind = registration === 0 ? "stream with addressed: true" : "request handler";
      return { reason: UNHANDLED_MESSAGE, text: `this session has no ${kind} at ${path}` };
    }
    const requestType = code === 0 ? name : typeName(code);
    let request;
    try {
      request = decode(code, name, bytes, handler.requestCode);
    } catch (error) {
      const reason = error.code === "INCOMPATIBLE_DATATYPE" ? INCOMPATIBLE_DATATYPE : INVALID_DATA;
      return { reason, text: `the ${requestType} request cannot be read: ${error.message}` };
    }
    const context = new RequestContext(path, sender, properties, requestType);
    this.#answering.set(conversation, context);
    const answer = () => this.#answer(handler, conversation, request, context, code);
    if (handler.running < handler.maxConcurrent) {
      handler.running += 1;
      return answer();
    }
    return new Promise((resolve) => {
      const start = () => {
        if (this.#answering.has(conversation)) resolve(copied(answer()));
        else handler.next();
      };
      handler.waiting.push(start);
      RequestContext.wait(context, () => {
        handler.waiting = handler.waiting.filter((other) => other !== start);
        resolve({ reason: SESSION_CLOSED, text: "" });
      });
    });
  }

  #answer(handler, conversation, request, context, requestCode) {
    const done = (answer) => {
      this.#answering.delete(conversation);
      handler.next();
      return answer;
    };
    const read = (result) => {
      const { code, bytes } = encodeAnswer(result, handler.responseCode || undefined, requestCode);
      return done({ reason: 0, code, bytes });
    };
    const refuse = (thrown) => done(refusal(thrown));
    try {
      const result = call(handler.callback, request, context);
      // Values from the wire are not waited for: they hold no functions.
      if (!isFunction(result?.then)) return read(result);
      return Promise.resolve(result)
        .then((value) => copied(read(value)))
        .catch(refuse);
    } catch (thrown) {
      return refuse(thrown);
    }
  }

  /** The answer to a request can no longer be delivered; `reason` says why. */
  abandon(conversation, reason) {
    const context = this.#answering.get(conversation);
    this.#answering.delete(conversation);
    if (context !== undefined) RequestContext.abandon(context, reason);
  }

  /** The same for all that are being answered. */
  abandonAll(reason) {
    for (const conversation of [...this.#answering.keys()]) this.abandon(conversation, reason);
  }

  // ---- Filter responses ----

  /** Adds a handler for the responses to requests that are sent to exactly this filter. */
  addFilterHandler(filter, callback) {
    text("filter", filter);
    const handler = callable(callback, "a filter response handler");
    const handlers = this.#filterHandlers;
    handlers.set(filter, handler);
    return {
      filter,
      close() {
        if (handlers.get(filter) === handler) handlers.delete(filter);
      },
    };
  }

  /** What takes the responses to one request to a filter. */
  filterCall(filter, path, responseCode, onResponse) {
    const own = isMissing(onResponse) ? undefined : callable(onResponse, "onResponse");
    return new FilterCall(filter, path, responseCode, () => own ?? this.#filterHandlers.get(filter));
  }
}

/** A request to a session filter whose responses are coming in; resolved or rejected when no more will come. */
class FilterCall {
  constructor(filter, path, responseCode, handler) {
    Object.assign(this, { filter, path, responseCode, handler });
  }

  resolve() {
    this.#end();
  }

  reject(error) {
    this.#end(error);
  }

  /** A session has answered; `bytes` are readable only until this returns. */
  respond(sessionId, received, expected, code, name, bytes) {
    try {
      const value = decode(code, name, bytes, this.responseCode);
      this.#tell("response", { sessionId, value, received, expected });
    } catch (error) {
      this.fail(sessionId, received, expected, error);
    }
  }

  /** A session has not answered; `error` says why. */
  fail(sessionId, received, expected, error) {
    this.#tell("error", { sessionId, error, received, expected });
  }

  #tell(event, { sessionId, ...rest }) {
    const handler = this.handler();
    if (handler === undefined) return;
    const response = { sessionId, filter: this.filter, path: this.path, ...rest };
    try {
      const result = isFunction(handler) ? handler(response) : handler.handle(event, response);
      // An asynchronous handler is none of ours to wait for, but its error must not be lost.
      if (isFunction(result?.then)) Promise.resolve(result).catch(report);
    } catch (error) {
      report(error);
    }
  }

  #end(error) {
    const handler = this.handler();
    // Only those who gather want to know; after the promise of the count.
    if (handler instanceof Collector) queueMicrotask(() => handler.end(error));
  }
}

/** Takes the responses to one request, and is told when no more will come. */
export class Collector {
  constructor(take, end) {
    this.handle = (_, response) => take(response);
    this.end = end;
  }
}

function call(callback, request, context) {
  if (isFunction(callback)) return callback(request, context);
  context.request = request;
  return callback.handle("request", context);
}

/** An answer whose bytes stay: the codec uses its buffer again. */
function copied(answer) {
  // A promise of one has copied already.
  return answer.bytes ? { ...answer, bytes: answer.bytes.slice() } : answer;
}

function refusal(thrown) {
  const { rejected, invalid, text } = describeThrown(thrown);
  const reason = rejected ? REJECTED_REQUEST : invalid ? INVALID_DATA : CALLBACK_EXCEPTION;
  return { reason, text: text || "the request handler threw without a message" };
}
