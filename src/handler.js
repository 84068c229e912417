// The request handlers of a session: finding the one that a request is for, calling it, reading what it returns.
// JavaScript, because nearly every step of it is: values, promises, an abort signal only for those who look at it.

import { describeThrown, MessagingError } from "./error.js";
import { decode, encodeAnswer, typeName } from "./value.js";

const CALLBACK_EXCEPTION = 105;
const INVALID_DATA = 106;
const INCOMPATIBLE_DATATYPE = 108;
const UNHANDLED_MESSAGE = 109;
const REJECTED_REQUEST = 9003;

/** What a request handler learns about a request besides its value. */
class RequestContext {
  #controller;
  #abandoned;

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

  static abandon(context, reason) {
    context.#abandoned = reason;
    context.#controller?.abort(reason);
  }
}

/** Checks what an application gives as a request handler; `requestCode` and `responseCode` are 0 for none. */
export function requestHandler(callback, requestCode, responseCode) {
  let cause;
  try {
    if (typeof callback === "function" || typeof callback?.handle === "function") {
      return { callback, requestCode, responseCode };
    }
  } catch (thrown) {
    cause = thrown;
  }
  const message = "a request handler must be a function, or an object with a function `handle`";
  throw new MessagingError("INVALID_ARGUMENT", message, "not-sent", { cause });
}

/** The handlers of a session by registration, and the requests that they are answering by conversation. */
export class Handlers {
  #byRegistration = new Map();
  #answering = new Map();

  add(registration, handler) {
    this.#byRegistration.set(registration, handler);
  }

  remove(registration) {
    this.#byRegistration.delete(registration);
  }

  has(registration) {
    return this.#byRegistration.has(registration);
  }

  clear() {
    this.#byRegistration.clear();
  }

  /**
   * Calls the handler of a request.
   *
   * @param {string[]} properties of the sender: keys and values, alternating
   * @param {number} code data type of the request, 0 if it is one that we do not know, called `name`
   * @param {Uint8Array} bytes the request, readable only until this returns
   * @returns an answer `{ reason: 0, code, bytes }`, a refusal `{ reason, text }`, or a promise of one of them
   */
  call(registration, conversation, path, sender, properties, code, name, bytes) {
    const handler = this.#byRegistration.get(registration);
    if (handler === undefined)
      return { reason: UNHANDLED_MESSAGE, text: `this session has no request handler at ${path}` };
    const requestType = code === 0 ? name : typeName(code);
    let request;
    try {
      request = decode(code, name, bytes, handler.requestCode);
    } catch (error) {
      const reason = error.code === "INCOMPATIBLE_DATATYPE" ? INCOMPATIBLE_DATATYPE : INVALID_DATA;
      return { reason, text: `the ${requestType} request cannot be read: ${error.message}` };
    }
    const context = new RequestContext(path, false, sender, properties, requestType);
    this.#answering.set(conversation, context);
    const done = (answer) => {
      this.#answering.delete(conversation);
      return answer;
    };
    const answer = (result) => done(encoded(result, handler.responseCode, code));
    // Whoever awaits this takes the bytes later, when the codec may have used its buffer for something else.
    const answerLater = (result) => {
      const encodedNow = answer(result);
      return { ...encodedNow, bytes: encodedNow.bytes.slice() };
    };
    const refuse = (thrown) => done(refusal(thrown));
    try {
      const result = call(handler.callback, request, context);
      // Values from the wire are not waited for: they hold no functions.
      if (typeof result?.then === "function") return Promise.resolve(result).then(answerLater).catch(refuse);
      return answer(result);
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
}

function call(callback, request, context) {
  if (typeof callback === "function") return callback(request, context);
  context.request = request;
  return callback.handle("request", context);
}

function encoded(result, responseCode, requestCode) {
  const { code, bytes } = encodeAnswer(result, responseCode || undefined, requestCode);
  return { reason: 0, code, bytes };
}

function refusal(thrown) {
  const { rejected, text } = describeThrown(thrown);
  return { reason: rejected ? REJECTED_REQUEST : CALLBACK_EXCEPTION, text };
}
