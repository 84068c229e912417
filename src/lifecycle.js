// The life of a session: connecting, its states and events, its end.

import { ConnectError, messagingError } from "./error.js";
import { DEBUG, Deferred, Emitter, INFO, PageListeners, whenAborted } from "./platform.js";

/** The state of a session, and its listeners. */
export class Lifecycle {
  id = "";
  principal;
  state = "connecting";
  closed = new Deferred();
  /** Another number whenever a broker may not know any more which keys were used (rules K-9). */
  keeper = 0;
  /** What waits for a connection, or the end of the session: called then, once. */
  awaiting = new Set();
  /** What went wrong when a connection was opened, if that is known; the `cause` of an error about that. */
  cause;
  #emitter = new Emitter(["statechange", "disconnect", "close", "reconnect", "messageloss"]);
  #client;
  #log;
  /** That of the options; a session that is opened anew has it again. */
  #principal;
  /** The promise of `connect`, while it is waited for. */
  #connecting = new Deferred();
  #page;
  #ended;

  /** What the client tells of the session: see `ClientListener` in boundary.ts. */
  listener = {
    stateChanged: (to) => {
      const from = this.state;
      this.state = to;
      this.#log(DEBUG, `the session was ${from} and is ${to}`);
      this.#emitter.emit("statechange", { from, to });
      if (to === "closed") this.#wake();
    },
    connected: (id, maxMessageSize, features) => {
      this.id = id;
      this.#client.agreed(maxMessageSize, features);
      this.#log(INFO, `session ${id} is open`);
      this.#connecting.resolve();
      this.#connecting = undefined;
      this.#page = new PageListeners(
        () => this.#client.port?.leave(),
        (restored) => this.#client.port?.wake(restored),
      );
    },
    connectFailed: (code, message, isRetryable) => {
      this.#connecting.reject(new ConnectError(code, message, isRetryable, this.cause));
      this.#ended();
    },
    disconnected: (reason) => {
      this.#log(INFO, reason);
      this.#emitter.emit("disconnect", { reason });
    },
    messagesLost: (requests, handlers) => this.#emitter.emit("messageloss", { requests, handlers }),
    reconnected: (id, maxMessageSize, features, lossless, newSession) => {
      if (newSession) {
        // The first half is the broker's.
        const isSameBroker = id.startsWith(this.id.slice(0, 17));
        if (!(isSameBroker && this.principal && this.principal === this.#principal)) this.keeper += 1;
        // It is opened with the same options as the first.
        this.principal = this.#principal;
      }
      this.id = id;
      this.#client.agreed(maxMessageSize, features);
      this.#log(INFO, `session ${id} is connected again`);
      this.#emitter.emit("reconnect", { lossless, newSession });
      this.#wake();
    },
    closed: (code, reason) => {
      this.#log(INFO, `the session is closed: ${reason}`);
      this.#finish({ code, reason, byClient: code === "CLOSED_BY_CLIENT" });
    },
  };

  /** `ended` is called when the client is not needed any more. */
  constructor(client, principal, log, ended) {
    this.#client = client;
    this.principal = principal;
    this.#principal = principal;
    this.#log = log;
    this.#ended = ended;
  }

  on(event, listener) {
    return this.#emitter.on(event, listener);
  }

  assertOpen() {
    if (this.state === "closed") throw messagingError("SESSION_CLOSED", "the session is closed", "not-sent");
  }

  /** Has the client connect; the promise settles when the session is open, or cannot be opened. */
  connect(signal, elapsed) {
    const { promise } = this.#connecting;
    const abort = (reason) => {
      this.#connecting?.reject(reason);
      this.#client.port?.close();
    };
    if (signal) {
      const listenNoMore = whenAborted(signal, abort);
      promise.then(listenNoMore, listenNoMore);
    }
    this.#client.port.connect(elapsed);
    return promise;
  }

  /** The client has failed; `cause` says how. */
  fail(reason, cause) {
    if (this.state !== "closed") this.listener.stateChanged("closed");
    if (this.#connecting) this.#connecting.reject(new ConnectError("INTERNAL", reason, true, cause));
    else this.#finish({ code: "INTERNAL", reason, byClient: false });
  }

  #wake() {
    const { awaiting } = this;
    // They may wait again.
    this.awaiting = new Set();
    for (const run of awaiting) run();
  }

  #finish(info) {
    this.#page?.stop();
    this.#ended();
    this.#emitter.emit("close", info);
    this.closed.resolve(info);
  }
}
