// The half of a session that the client in Rust tells what happens: who waits for what, and who is told.

import { ConnectError, callSite, MessagingError, messagingError, seenFrom, textOf } from "./error.js";
import { Handlers } from "./handler.js";
import { Messaging } from "./messaging.js";
import { checkedCredentials, isFunction, prepareRequest } from "./options.js";
import { call, closeQuietly, Deferred, Emitter, log, PageListeners, report } from "./platform.js";
import { serviceName } from "./services.js";
import { decode, typeName } from "./value.js";

/** Those whose client in Rust is at work. */
const links = new Set();

/** The WebAssembly has trapped: nothing that it holds can be trusted any more. */
export function failAll(cause) {
  for (const link of links) link.fail(cause);
}

/** Somebody who waits for the end of a conversation. */
class Waiting extends Deferred {
  /** Listens to an abort signal no more. */
  ignore;

  constructor(site, responseCode, read) {
    super();
    this.site = site;
    this.responseCode = responseCode;
    this.read = read;
  }
}

/** The half of a session that the client in Rust tells what happens. It never holds anything up by an error. */
export class Link {
  id = "";
  principal;
  state = "connecting";
  closed = new Deferred();
  emitter = new Emitter();
  handlers = new Handlers();
  messaging = new Messaging(this);
  /** What is used of the options by Rust. */
  webSocket;
  /** Of the connection. */
  socket;
  #options;
  /** In Rust; gone when the session is over. */
  #client;
  /** That the broker takes, in bytes. */
  #maxMessageSize = Infinity;
  /** The promise of `connect`, while it is waited for. */
  #connecting;
  /** What went wrong outside of the client, for the error's `cause`. */
  #cause;
  /** Who waits for what, by conversation. */
  #waiting = new Map();
  #page;
  #inspectors = new Set();
  /** Makes an error of what the client failed of, if it has. */
  #failure;

  constructor(options) {
    this.#options = options;
    this.principal = options.principal;
    this.webSocket = options.webSocket;
  }

  /** Makes a client and connects. The promise settles when the session is open. */
  connect(create, elapsed) {
    const { address, config, signal } = this.#options;
    this.#connecting = new Deferred();
    const { promise } = this.#connecting;
    links.add(this);
    try {
      this.#client = create(this, address, config);
    } catch (error) {
      this.#release();
      throw error;
    }
    const abort = () => {
      this.#connecting?.reject(signal.reason);
      this.#client?.close();
    };
    signal?.addEventListener("abort", abort);
    const listenNoMore = () => signal?.removeEventListener("abort", abort);
    promise.then(listenNoMore, listenNoMore);
    this.#client.connect(elapsed);
    return promise;
  }

  /** The client in Rust. Throws if the session is over. */
  get client() {
    this.assertOpen();
    return this.#client;
  }

  assertOpen() {
    if (this.state === "closed") throw messagingError("SESSION_CLOSED", "the session is closed", "not-sent");
  }

  close() {
    this.#client?.close();
    return this.closed.promise.then(() => {});
  }

  // ---- Asking ----

  /**
   * Starts a conversation.
   *
   * @param start starts it, given where the application called; returns `{ conversation, path, signal, responseCode,
   *   read }`, of which the first is needed: `responseCode` is the data type to which a value is converted, `read` makes
   *   of another response what is promised
   * @param site where the application called, if not two functions up
   * @returns a promise of the response; what `start` throws rejects it
   */
  ask(start, site = callSite(new Error(), 2)) {
    const before = this.#failure;
    try {
      const { conversation, signal, path, responseCode, read } = start(site);
      const { promise } = this.wait(conversation, new Waiting(site, responseCode, read));
      if (signal) this.heed(signal, conversation);
      if (path !== undefined && this.#inspectors.size > 0) this.#measure(path, promise);
      this.#client?.flush();
      return promise;
    } catch (error) {
      // What a client throws that has failed meanwhile means nothing.
      return Promise.reject(seenFrom(site, this.#failure === before ? error : this.#failure()));
    }
  }

  /** Remembers who waits for a conversation: something that can be resolved and rejected. */
  wait(conversation, waiting) {
    this.#waiting.set(conversation, waiting);
    return waiting;
  }

  /** The signal ends the waiting for the first conversation and the others, for as long as it is waited for the first. */
  heed(signal, ...conversations) {
    const abort = () => {
      for (const conversation of conversations) {
        const waiting = this.#take(conversation);
        if (waiting === undefined) continue;
        waiting.reject(signal.reason);
        this.#client?.abandon(conversation);
      }
    };
    signal.addEventListener("abort", abort);
    this.#waiting.get(conversations[0]).ignore = () => signal.removeEventListener("abort", abort);
  }

  #take(conversation) {
    const waiting = this.#waiting.get(conversation);
    this.#waiting.delete(conversation);
    waiting?.ignore?.();
    return waiting;
  }

  /** A request with its options, ready to be sent. */
  prepare(request, options) {
    const prepared = prepareRequest(request, options);
    prepared.timeout ??= this.#options.requestTimeout;
    const text = this.#tooLarge(prepared.bytes);
    if (text) throw messagingError("MESSAGE_TOO_LARGE", text, "not-sent");
    return prepared;
  }

  /** What is wrong with the size of a value, if anything: what is too large is not even copied into the WebAssembly. */
  #tooLarge({ length }) {
    const limit = this.#maxMessageSize;
    return length > limit ? `the message has ${length} bytes, the server takes ${limit} at most` : undefined;
  }

  // ---- What Rust asks for while it connects ----

  /** A string, bytes, undefined, or a promise of one of them. */
  credentials() {
    const { credentials } = this.#options;
    this.#cause = undefined;
    if (!isFunction(credentials)) return credentials;
    const asked = new Promise((resolve) => {
      resolve(credentials());
    });
    return asked.then(checkedCredentials, (error) => {
      this.#cause = error;
      throw new Error(`the credentials function failed: ${textOf(error)}`);
    });
  }

  /** What kept us from trying to connect, for people. */
  describe(thrown) {
    this.#cause ??= thrown;
    return textOf(thrown);
  }

  /** Milliseconds to wait before an attempt to reconnect. */
  retryDelay(attempt) {
    try {
      const chosen = this.#options.delay?.(attempt);
      if (chosen >= 0) return Number(chosen);
    } catch (error) {
      report(error);
    }
    // Full jitter, so that many clients that lost their connections together do not return together.
    return Math.random() * Math.min(5_000, 100 * 2 ** (attempt - 1));
  }

  // ---- What Rust tells ----

  setState(to) {
    const from = this.state;
    this.state = to;
    this.emitter.emit("statechange", { from, to });
  }

  connected(id, maxMessageSize) {
    this.id = id;
    this.#maxMessageSize = maxMessageSize;
    this.#log(INFO, `session ${id} is open`);
    this.#connecting.resolve();
    this.#connecting = undefined;
    this.#page = new PageListeners(
      () => this.#client?.leave(),
      (restored) => this.#client?.wake(restored),
    );
  }

  connectFailed(code, message, isRetryable) {
    this.#connecting.reject(new ConnectError(code, message, isRetryable, this.#cause));
    this.#release();
  }

  disconnected(reason) {
    this.#log(INFO, reason);
    this.emitter.emit("disconnect", { reason });
  }

  messagesLost(requests, handlers) {
    this.emitter.emit("messageloss", { requests, handlers });
  }

  handlerLost(registration) {
    this.#log(WARN, "a request handler is no longer registered");
    this.handlers.remove(registration);
  }

  reconnected(id, maxMessageSize, lossless, newSession) {
    this.id = id;
    this.#maxMessageSize = maxMessageSize;
    // A new one is opened with the same options as the first.
    if (newSession) this.principal = this.#options.principal;
    this.#log(INFO, `session ${id} is connected again`);
    this.emitter.emit("reconnect", { lossless, newSession });
  }

  /** The session is over. */
  ended(code, reason) {
    this.#log(INFO, `the session is closed: ${reason}`);
    if (LOSSES.includes(code)) this.emitter.emit("disconnect", { reason });
    this.#finish({ code, reason, byClient: code === "CLOSED_BY_CLIENT" });
  }

  /** A conversation is over, with a value. */
  respondedValue(conversation, code, name, bytes) {
    const waiting = this.#take(conversation);
    try {
      waiting?.resolve(decode(code, name, bytes, waiting.responseCode));
    } catch (error) {
      waiting.reject(seenFrom(waiting.site, error));
    }
  }

  /** A conversation is over, with another response. */
  responded(conversation, response) {
    const waiting = this.#take(conversation);
    waiting?.resolve(waiting.read ? waiting.read(response) : response);
  }

  failed(conversation, error) {
    const waiting = this.#take(conversation);
    waiting?.reject(seenFrom(waiting.site, error));
  }

  filterResponded(conversation, ...response) {
    this.#waiting.get(conversation)?.respond(...response);
  }

  filterFailed(conversation, ...failure) {
    this.#waiting.get(conversation)?.fail(...failure);
  }

  /** Somebody asks; `registration` is 0 and `sender` empty for an addressed request. */
  requested(conversation, registration, path, sender, properties, code, name, bytes) {
    const answer = this.handlers.call(registration, conversation, path, sender, properties, code, name, bytes);
    if (answer instanceof Promise) answer.then((later) => this.#answer(conversation, path, later));
    else this.#answer(conversation, path, answer);
  }

  #answer(conversation, path, { reason, text, code, bytes }) {
    // Not what it threw: that may be anything.
    if (reason in FAULTS) this.#log(WARN, `the request handler for ${path} failed: ${FAULTS[reason]}`);
    const refusal = reason === 0 ? this.#tooLarge(bytes) : text;
    if (refusal === undefined) this.#client?.respond(conversation, code, bytes);
    else this.#client?.refuse(conversation, reason || CALLBACK_EXCEPTION, refusal);
  }

  abandoned(conversation, error) {
    this.handlers.abandon(conversation, error);
  }

  /** A `MessagingError`. */
  error(...details) {
    return messagingError(...details);
  }

  // ---- The WebSocket, which may be none of the browser's ----

  /** Calls `listener` with the number of an event (open, message, close) and the event. */
  listen(socket, listener) {
    this.socket = socket;
    socket.binaryType = "arraybuffer";
    socket.onopen = (event) => listener(0, event);
    socket.onmessage = (event) => listener(1, event);
    socket.onclose = (event) => listener(2, event);
    // It says nothing that the close event after it does not say, but a library may throw if nobody listens.
    socket.onerror = () => {};
  }

  /** What came in a binary message; undefined for another one. */
  frameOf(event) {
    const data = event?.data;
    // Not by its class: it may be of another realm, as in test environments.
    return typeof data === "object" && data ? new Uint8Array(data) : undefined;
  }

  closeCode(event) {
    return Number(event?.code) || 0;
  }

  closeReason(event) {
    try {
      return String(event?.reason ?? "");
    } catch {
      return "";
    }
  }

  closeSocket(socket) {
    closeQuietly(socket);
  }

  // ---- Watching ----

  /** Calls `listener` with messages as they pass; returns the function that ends it. */
  inspect(listener, options) {
    if (!isFunction(listener)) throw new TypeError("a listener must be a function");
    const inspector = { listener, values: options?.values === true };
    this.#inspectors.add(inspector);
    if (this.#inspectors.size === 1) this.#client?.inspect(true);
    return () => {
      if (this.#inspectors.delete(inspector) && this.#inspectors.size === 0) this.#client?.inspect(false);
    };
  }

  /** A message passes; `kind` is an index of `KINDS`, and what it does not have is undefined, 0 or empty. */
  inspected(isOut, kind, service, conversation, path, code, name, bytes, size) {
    const message = { direction: isOut ? "out" : "in", kind: KINDS[kind], service: serviceName(service), conversation };
    if (path !== undefined) message.path = path;
    const type = code === 0 ? name : typeName(code);
    if (type) message.type = type;
    Object.assign(message, { size, time: performance.now() });
    // All read before the first listener runs, which may make the bytes move.
    const told = [...this.#inspectors].map(({ listener, values }) => {
      return {
        listener,
        message: values && type ? { ...message, value: readValue(code, name, bytes) } : { ...message },
      };
    });
    for (const { listener, message } of told) call(listener, message);
  }

  /** Lets the browser's tools show a request. */
  #measure(path, promise) {
    const start = performance.now();
    const measure = (outcome) => performance.measure?.(`antiphon ${path}`, { start, detail: { path, outcome } });
    promise.then(
      () => measure("ok"),
      (error) => measure(error instanceof MessagingError ? error.code : "ABORTED"),
    );
  }

  // ---- The end ----

  /** The WebAssembly has trapped because of `cause`: everything that waits is told, and the connection is closed. */
  fail(cause) {
    const text = `the WebAssembly of this client has failed (${textOf(cause)}); connect again, which starts it afresh`;
    const failure = () => messagingError("INTERNAL", text, "unknown", undefined, undefined, cause);
    const connecting = this.#connecting;
    this.#failure = failure;
    this.#release();
    for (const conversation of [...this.#waiting.keys()]) this.failed(conversation, failure());
    this.handlers.abandonAll(failure());
    if (this.state !== "closed") this.setState("closed");
    if (connecting) connecting.reject(new ConnectError("INTERNAL", text, true, cause));
    else this.#finish({ code: "INTERNAL", reason: text, byClient: false });
    if (this.socket) closeQuietly(this.socket);
  }

  #finish(info) {
    this.#page?.stop();
    this.handlers.clear();
    this.#release();
    this.emitter.emit("close", info);
    this.closed.resolve(info);
  }

  /** Lets go of the client, which has nothing more to do. It holds on to us for as long as it is there. */
  #release() {
    const client = this.#client;
    links.delete(this);
    this.#client = undefined;
    // Not before it has returned from what it is doing.
    if (client) queueMicrotask(() => client.free());
  }

  #log(level, message) {
    if (level <= this.#options.level) log(level, message);
  }
}

// What Rust calls must not throw: it would be left in the middle of something. What can be thrown there at all comes from
// things that are not what they seem, such as a WebSocket of the application.
for (const name of [
  ...[
    "retryDelay",
    "setState",
    "connected",
    "connectFailed",
    "disconnected",
    "messagesLost",
    "handlerLost",
    "reconnected",
  ],
  ...["ended", "respondedValue", "responded", "failed", "filterResponded", "filterFailed", "requested", "abandoned"],
  ...["frameOf", "closeCode", "inspected"],
]) {
  const method = Link.prototype[name];
  Link.prototype[name] = function (...details) {
    try {
      return method.apply(this, details);
    } catch (error) {
      report(error);
    }
  };
}

const KINDS = ["request", "response", "error"];

/** A value that passes; undefined if it cannot be read. */
function readValue(code, name, bytes) {
  try {
    return decode(code, name, bytes, 0);
  } catch {
    return undefined;
  }
}

// Of the levels in options.js.
const WARN = 2;
const INFO = 3;

const CALLBACK_EXCEPTION = 105;

/** Reasons for which an answer is worth a line on the console. */
const FAULTS = { 105: "CALLBACK_EXCEPTION", 106: "INVALID_DATA" };

/** Ends that come of a connection. */
const LOSSES = ["CONNECTION_ERROR", "TRANSPORT_ERROR", "IDLE_CONNECTION"];
