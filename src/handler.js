// A function of the application that answers requests: its options, its queue, what it returns or throws.

import { describeThrown } from "./error.js";
import {
  callable,
  HANDLER_OPTIONS,
  isBoolean,
  isFunction,
  isMissing,
  members,
  optional,
  STREAM_OPTIONS,
  selected,
  strings,
  TYPES,
} from "./options.js";
import { named } from "./platform.js";
import {
  REASON_CALLBACK_EXCEPTION,
  REASON_INCOMPATIBLE_DATATYPE,
  REASON_INVALID_DATA,
  REASON_REJECTED_REQUEST,
} from "./tables.js";
import { decode, encodeAnswer, typeCode } from "./value.js";

/** The context of a request: what its handler learns besides its value. */
export class RequestContext {
  #controller;
  #abandoned;
  #leave;

  /** `senderSessionId` is undefined for an addressed request, `properties` are keys and values if there are any. */
  constructor(path, senderSessionId, properties, requestType) {
    this.path = path;
    // The broker says who asks only where it chose the handler.
    this.addressed = senderSessionId === undefined;
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

  // Not methods, which the application would have.

  /** Has `leave` called when the answer can no longer be delivered. */
  static whenAbandoned(context, leave) {
    context.#leave = leave;
  }

  static isAbandoned(context) {
    return context.#abandoned !== undefined;
  }

  /** The answer can no longer be delivered; `reason` says why. */
  static abandon(context, reason) {
    context.#abandoned = reason;
    context.#controller?.abort(reason);
    context.#leave?.();
  }
}

named("RequestContext", RequestContext);

/** A request handler, or a stream handler, with its options. */
export class Handler {
  #callback;
  #requestCode;
  #responseCode;
  #maxConcurrent;
  #contract;
  /** How many requests it is answering, or about to. */
  #running = 0;
  /** Functions that start those that wait for their turn. */
  #waiting = [];

  /** `contract` is what requests and answers are checked against, if anything. */
  constructor(callback, options, isStream, contract) {
    const { requestType, responseType, maxConcurrent, addressed, sessionProperties, reregister } = members(
      options,
      isStream ? STREAM_OPTIONS : HANDLER_OPTIONS,
    );
    this.#callback = callable(callback, isStream ? "a stream handler" : "a request handler");
    this.isStream = isStream;
    this.#contract = contract;
    // Those of the object, unless the options say otherwise.
    const own = isFunction(callback) ? {} : selected(callback, TYPES, "the handler");
    this.#requestCode = typeCode(requestType ?? own.requestType);
    this.#responseCode = typeCode(responseType ?? own.responseType);
    const isCount = (count) => count === Infinity || (Number.isInteger(count) && count >= 1);
    this.#maxConcurrent = optional("maxConcurrent", maxConcurrent, "a whole number, at least 1", isCount) ?? Infinity;
    this.addressed = optional("addressed", addressed, "true or false", isBoolean) ?? false;
    this.reregister = optional("reregister", reregister, "true or false", isBoolean) ?? true;
    this.sessionProperties = isMissing(sessionProperties) ? [] : strings("sessionProperties", sessionProperties);
  }

  /**
   * Answers a request, now or when it has its turn.
   *
   * @param {RequestContext} context
   * @param {number} code data type of the request, 0 if it is one that we do not know, called `name`
   * @param {Uint8Array} bytes the request, readable only until this returns
   * @param {(answer) => void} respond is called once, with a value `{ code, bytes }`, which is to be read at once, or with
   *   a refusal `{ reason, text }`
   */
  answer(context, code, name, bytes, respond) {
    let request;
    try {
      request = decode(code, name, bytes, this.#requestCode);
    } catch (error) {
      const isOther = error.code === "INCOMPATIBLE_DATATYPE";
      const text = `the ${context.requestType} request cannot be read: ${error.message}`;
      respond({ reason: isOther ? REASON_INCOMPATIBLE_DATATYPE : REASON_INVALID_DATA, text });
      return;
    }
    if (this.#running < this.#maxConcurrent) {
      this.#running += 1;
      this.#call(request, context, code, respond);
      return;
    }
    const start = () => {
      if (RequestContext.isAbandoned(context)) this.#next();
      else this.#call(request, context, code, respond);
    };
    this.#waiting.push(start);
    RequestContext.whenAbandoned(context, () => {
      this.#waiting = this.#waiting.filter((other) => other !== start);
    });
  }

  #call(request, context, requestCode, respond) {
    const finish = (answer) => {
      this.#next();
      respond(answer);
    };
    const encode = (result) => {
      try {
        return encodeAnswer(result, this.#responseCode || undefined, requestCode);
      } catch (thrown) {
        return refusal(thrown);
      }
    };
    let answer;
    try {
      const call = () => invoke(this.#callback, request, context);
      const result = this.#contract ? this.#contract.serve(context.path, request, call) : call();
      // Values from the wire are not waited for: they hold no functions.
      if (isFunction(result?.then)) {
        Promise.resolve(result).then(
          (value) => finish(encode(value)),
          (thrown) => finish(refusal(thrown)),
        );
        return;
      }
      answer = encode(result);
    } catch (thrown) {
      answer = refusal(thrown);
    }
    finish(answer);
  }

  /** A request has been answered, or needs no answer: another one has its turn. */
  #next() {
    const start = this.#waiting.shift();
    // Not at once, when it would hold up the answer.
    if (start !== undefined) queueMicrotask(start);
    else this.#running -= 1;
  }
}

function invoke(callback, request, context) {
  if (isFunction(callback)) return callback(request, context);
  context.request = request;
  return callback.handle("request", context);
}

/** What the sender is told about something that was thrown. */
function refusal(thrown) {
  const { rejected, invalid, text } = describeThrown(thrown);
  const reason = rejected ? REASON_REJECTED_REQUEST : invalid ? REASON_INVALID_DATA : REASON_CALLBACK_EXCEPTION;
  return { reason, text: text || "the request handler threw without a message" };
}
