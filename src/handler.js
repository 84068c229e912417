// A function of the application that answers requests: its options, its queue, what it returns or throws.

import { describeThrown } from "./error.js";
import {
  abortSignal,
  callable,
  flag,
  HANDLER_OPTIONS,
  isFunction,
  isMissing,
  members,
  optional,
  patience,
  STREAM_OPTIONS,
  selected,
  strings,
  TYPES,
  waits,
} from "./options.js";
import { named, whenAborted } from "./platform.js";
import {
  REASON_CALLBACK_EXCEPTION,
  REASON_INCOMPATIBLE_DATATYPE,
  REASON_INVALID_DATA,
  REASON_REJECTED_REQUEST,
} from "./tables.js";
import { decode, encodeAnswer, jsonIn, typeCode } from "./value.js";

/** The first three bits of an object in CBOR. */
const CBOR_OBJECT = 5;

/** The context of a request: what its handler learns besides its value. */
export class RequestContext {
  #controller;
  #abandoned;
  #leave;
  /** When the sender stops waiting, by `performance.now`. */
  #end;
  #metadata;

  /**
   * `senderSessionId` is undefined for an addressed request, `properties` are keys and values if there are any, `timeLeft` is
   * infinite if the sender did not say, `idempotencyKey` is undefined if it named none, `metadata` is
   * a json value, readable only until this returns.
   */
  constructor(path, senderSessionId, properties, requestType, timeLeft, idempotencyKey, metadata) {
    this.path = path;
    // The broker says who asks only where it chose the handler.
    this.addressed = senderSessionId === undefined;
    if (!this.addressed) this.senderSessionId = senderSessionId;
    // Defines the keys: one called `__proto__` is a property like any other.
    this.sessionProperties = Object.fromEntries(properties ?? []);
    this.requestType = requestType;
    if (idempotencyKey !== undefined) this.idempotencyKey = idempotencyKey;
    // What is no object, or no string in it, is not of our making.
    const said = Object.entries((metadata[0] >> 5 === CBOR_OBJECT && jsonIn(metadata)) || {});
    this.#metadata = Object.freeze(Object.fromEntries(said.filter(([, value]) => typeof value === "string")));
    this.#end = timeLeft < Infinity ? performance.now() + timeLeft : Infinity;
  }

  /** Milliseconds until the sender stops waiting. */
  get timeLeft() {
    return Math.max(0, this.#end - performance.now());
  }

  /** What the sender says beside the request. */
  get metadata() {
    return this.#metadata;
  }

  /** Aborted when the answer can no longer be delivered, or nobody waits for it. */
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

  /** Whether the handler gave up, because its answer could no longer be delivered, and threw just that. */
  static isStopped(context, thrown) {
    return thrown !== undefined && thrown === context.#abandoned;
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
  #contract;
  /** How many requests it is answering, or about to. */
  #running = 0;
  /** Functions that start those that wait for their turn, by the numbers they drew. */
  #waiting = new Map();
  #drawn = 0;
  #called = 0;
  #stopListening;

  /** `contract` is what requests and answers are checked against, if anything. */
  constructor(path, callback, options, isStream, contract) {
    const given = members(options, isStream ? STREAM_OPTIONS : HANDLER_OPTIONS);
    const { addressed, sessionProperties, reregister } = given;
    this.path = path;
    this.#callback = callable(callback, isStream ? "a stream handler" : "a request handler");
    this.isStream = isStream;
    this.#contract = contract;
    // Those of the object, unless the options say otherwise.
    const own = isFunction(callback) ? {} : selected(callback, TYPES, "the handler");
    this.#requestCode = typeCode(given.requestType ?? own.requestType);
    this.#responseCode = typeCode(given.responseType ?? own.responseType);
    this.maxConcurrent = count("maxConcurrent", given.maxConcurrent, 1) ?? Infinity;
    this.maxQueued = count("maxQueued", given.maxQueued, 0) ?? 0;
    this.addressed = flag("addressed", addressed) ?? false;
    this.reregister = flag("reregister", reregister) ?? true;
    this.timeout = patience("timeout", given.timeout) ?? 60_000;
    this.signal = abortSignal(given.signal);
    this.wait = waits(given.whenDisconnected);
    this.sessionProperties = isMissing(sessionProperties) ? [] : strings("sessionProperties", sessionProperties);
  }

  /** Calls `close` when the signal of its options is aborted, until it is gone. */
  closeBy(close) {
    if (this.signal?.aborted) close();
    else if (this.signal) this.#stopListening = whenAborted(this.signal, close);
  }

  /** Nobody has it any more. */
  gone() {
    this.#stopListening?.();
  }

  /**
   * Answers a request, now or when it has its turn.
   *
   * @param {RequestContext} context
   * @param {number} code data type of the request, 0 if it is one that we do not know, called `name`
   * @param {Uint8Array} bytes the request, readable only until this returns
   * @param {(answer) => void} respond is called once, with a value `{ code, bytes }`, which is to be read at once, or with
   *   a refusal `{ reason, text, details, thrown }`, where `thrown` is there if the handler failed
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
    if (this.#running < this.maxConcurrent) {
      this.#running += 1;
      this.#call(request, context, code, respond);
      return;
    }
    this.#drawn += 1;
    const number = this.#drawn;
    this.#waiting.set(number, () => {
      if (RequestContext.isAbandoned(context)) this.#next();
      else this.#call(request, context, code, respond);
    });
    RequestContext.whenAbandoned(context, () => this.#waiting.delete(number));
  }

  #call(request, context, requestCode, respond) {
    let isOver = false;
    const over = () => {
      if (!isOver) this.#next();
      isOver = true;
    };
    // Whatever the handler still does then, it does not hold up others.
    RequestContext.whenAbandoned(context, over);
    const finish = (answer) => {
      over();
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
    while (this.#called < this.#drawn) {
      this.#called += 1;
      const start = this.#waiting.get(this.#called);
      // Those that are not there have been abandoned.
      if (start === undefined) continue;
      this.#waiting.delete(this.#called);
      // Not at once, when it would hold up the answer.
      queueMicrotask(start);
      return;
    }
    this.#running -= 1;
  }
}

/** The option `name`: a whole number of requests, not below `least`, or infinity. */
function count(name, value, least) {
  const isCount = (number) => number === Infinity || (Number.isInteger(number) && number >= least);
  return optional(name, value, `a whole number, at least ${least}`, isCount);
}

function invoke(callback, request, context) {
  if (isFunction(callback)) return callback(request, context);
  context.request = request;
  return callback.handle("request", context);
}

/** What the sender is told about something that was thrown. */
function refusal(thrown) {
  const { rejected, invalid, text: said, details } = describeThrown(thrown);
  const text = said || "the request handler threw without a message";
  if (rejected) return { reason: REASON_REJECTED_REQUEST, text, details };
  return invalid ? { reason: REASON_INVALID_DATA, text } : { reason: REASON_CALLBACK_EXCEPTION, text, thrown };
}
