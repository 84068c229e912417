// What a session consists of: parts with one job each, and the one object that the client in Rust calls. Applications
// have a `Session`, which knows the parts.

import { Calls } from "./calls.js";
import { ClientHandle } from "./client-handle.js";
import { messagingError, textOf } from "./error.js";
import { FilterHandlers } from "./filter-calls.js";
import { Handlers } from "./handlers.js";
import { Inspectors } from "./inspector.js";
import { Lifecycle } from "./lifecycle.js";
import { checkedCredentials, isFunction } from "./options.js";
import { guarded, log, report, TRACE } from "./platform.js";
import { SocketEvents } from "./socket.js";

/** What platforms and libraries say of an address: it has the credentials in it. */
const QUERY = /\?\S+/g;

/** The parts of one session. */
export class SessionParts {
  client = new ClientHandle();
  calls = new Calls();
  filterHandlers = new FilterHandlers();
  inspectors = new Inspectors(this.client);
  handlers;
  life;
  /** What values are checked against, if anything. */
  contract;
  /** Of requests that name none, in milliseconds. */
  requestTimeout;
  #options;
  #instance;
  #socketEvents;

  /** `options` are those of `connect`, checked. */
  constructor(options) {
    const write = (level, ...said) => level <= options.level && log(level, ...said);
    this.#options = options;
    this.#socketEvents = new SocketEvents(this.client, options, (...error) => this.#describe(...error));
    this.requestTimeout = options.requestTimeout;
    this.contract = options.contract;
    this.handlers = new Handlers(this.client, write);
    this.life = new Lifecycle(this.client, options.principal, write, () => this.#release());
  }

  /** The client, ready to be called. Throws if the session is over. */
  get port() {
    this.life.assertOpen();
    return this.client.port;
  }

  /** Makes a client in an instance of the WebAssembly and connects. The promise settles when the session is open. */
  connect(instance, elapsed) {
    const { address, config, level, signal } = this.#options;
    this.#instance = instance;
    try {
      this.client.port = instance.create(this, this.listener(), address, ...config);
    } catch (error) {
      this.#release();
      throw error;
    }
    if (level === TRACE) this.inspectors.add((message) => log(level, Object.values(message).join(" ")));
    return this.life.connect(signal, elapsed);
  }

  /** All that the client calls. What is thrown there must not get into Rust, which would be left in the middle of something. */
  listener() {
    return guarded({
      ...this.life.listener,
      ...this.calls.listener,
      ...this.handlers.listener,
      ...this.inspectors.listener,
      ...this.#socketEvents.shim,
      credentialsWanted: (connection) => this.#giveCredentials(connection),
      flushSoon: async () => {
        // Not by `queueMicrotask`, which tests with a clock of their own may have replaced.
        await undefined;
        this.client.port?.flush();
      },
      retryWanted: (attempt) => this.client.port?.retryAfter(this.#retryDelay(attempt)),
    });
  }

  /**
   * Answers the client, which wants to connect: with what the options have, or what their function gives. If it is connected,
   * the credentials of the session expire soon; the broker asks again if it gets no others.
   */
  #giveCredentials(connection) {
    const { credentials } = this.#options;
    const isRenewal = this.life.state === "connected";
    this.life.cause = undefined;
    if (!isFunction(credentials)) {
      if (!isRenewal) this.client.port.connectWith(connection, credentials);
      return;
    }
    const asked = new Promise((resolve) => {
      resolve(credentials());
    });
    asked
      .then(checkedCredentials, (error) => {
        this.life.cause = error;
        throw new Error(`the credentials function failed: ${textOf(error)}`);
      })
      .then((checked) =>
        isRenewal
          ? this.calls.make(({ number }) => this.port.changePrincipal(number, this.life.principal, checked))
          : this.client.port?.connectWith(connection, checked),
      )
      .catch((error) =>
        isRenewal ? report(error) : this.client.port?.cannotConnect(connection, this.#describe(error)),
      );
  }

  /** What kept us from connecting, for people. */
  #describe(thrown, text = textOf(thrown)) {
    const clean = text.replace(QUERY, "…");
    this.life.cause ??= clean === text ? thrown : Object.assign(new Error(clean), { code: thrown?.code });
    return clean;
  }

  /** What the application wants to wait before an attempt to reconnect, in milliseconds; undefined if it does not say. */
  #retryDelay(attempt) {
    try {
      const chosen = this.#options.delay?.(attempt);
      return chosen >= 0 ? Number(chosen) : undefined;
    } catch (error) {
      report(error);
      return undefined;
    }
  }

  /**
   * The WebAssembly has trapped because of `cause`, and nothing that it holds can be trusted: everything that waits is told,
   * and the connection is closed.
   */
  fail(cause) {
    const text = `the WebAssembly of this client has failed (${textOf(cause)}); connect again, which starts it afresh`;
    const failure = () => messagingError("INTERNAL", text, "unknown", undefined, undefined, cause);
    this.#release(failure);
    this.handlers.abandonAll(failure());
    this.life.fail(text, cause);
    this.#socketEvents.close();
  }

  /** The client is not needed any more, and nobody is to be called. If it has failed, `failure` makes an error for each call. */
  #release(failure) {
    this.calls.failAll(failure);
    this.handlers.clear();
    this.filterHandlers.clear();
    this.client.release();
    this.#instance?.release(this);
    // It is large, and applications keep sessions that are over.
    this.#instance = undefined;
  }
}
