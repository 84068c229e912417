// The three clients behind one interface, so that a test is independent of how each is driven: ours in a page of
// headless Chromium, the official JavaScript client in this process, the official Python client in a process of its
// own.
//
// A peer carries out commands, each an object with `do` and `id`: `connect` (returns the session's ID), `handle`,
// `stream`, `arrival` (the next request at one of these), `unhandle`, `sendToPath`, `sendToSession`, `sendToFilter`
// (returns the count), `result` (the next one of such a request), `ping`, `close`.

import { performByJavaScript } from "./javascript.mjs";
import { openPage } from "./page.mjs";
import { startPython } from "./python.mjs";

/** A principal known out of the box that may register handlers and request session properties. */
export const control = { principal: "control", credentials: "password" };

/** What the sender of a failed request sees: each client's own terms, under common names. */
export class PeerError extends Error {
  constructor({ text, ...details }) {
    super(text);
    /** The code (ours) or the exception's class (Python); the official JavaScript client has none. */
    this.type = details.type;
    /** The error reason's number; Python does not tell. */
    this.number = details.number;
    /** Ours only. */
    this.outcome = details.outcome;
    /** Ours only, of a session that could not be opened. */
    this.retryable = details.retryable;
    /** `[line, column]` of each report on a filter that does not parse; Python does not tell. */
    this.places = details.places;
  }
}

/** One of the clients. */
class Peer {
  #perform;
  #broker;
  #commands = 0;
  /** Open sessions, to be closed at the end. */
  #sessions = new Set();

  /**
   * @param {string} name in the names of tests
   * @param {string} key in the table
   * @param {(command: object) => Promise<{ ok?: unknown, error?: object }>} perform
   */
  constructor(name, key, perform, broker) {
    this.name = name;
    this.key = key;
    this.#perform = perform;
    this.#broker = broker;
  }

  /** Opens a session, as `control` unless `options` say otherwise. */
  async connect(options = control) {
    const { id: name, ok: id } = await this.perform({ do: "connect", url: this.#broker.url, ...options });
    const session = new PeerSession(this, name, id);
    this.#sessions.add(session);
    return session;
  }

  async perform(command) {
    this.#commands += 1;
    const id = this.#commands;
    const { ok, error } = await this.#perform({ id, ...command });
    if (error) throw new PeerError(error);
    return { id, ok };
  }

  /** Closes the sessions that are still open. */
  async closeAll() {
    await Promise.all([...this.#sessions].map((session) => session.close()));
  }

  /** Its session is closed. */
  forget(session) {
    this.#sessions.delete(session);
  }
}

/** A session of any of the clients. */
class PeerSession {
  #peer;
  #name;

  constructor(peer, name, id) {
    this.#peer = peer;
    this.#name = name;
    /** Text form, as the client shows it. */
    this.id = id;
  }

  /** Sends a request; gives the response, both of data type `type`. Rejects with {@link PeerError}. */
  async sendToPath(path, type, value) {
    return (await this.#do({ do: "sendToPath", path, type, value })).ok;
  }

  /** The same, to the session with the ID `to`. */
  async sendToSession(path, to, type, value) {
    return (await this.#do({ do: "sendToSession", path, to, type, value })).ok;
  }

  /**
   * Sends a request to the sessions that match; gives how many there are, and a function that waits for that many
   * results, or for `wanted`, in the order in which they come: each `{ session, value }` or `{ session, error }`. Ours
   * and Python add how many have been `received` of those `expected`. No error of a recipient reaches users of Python.
   */
  async sendToFilter(filter, path, type, value) {
    const { id, ok: count } = await this.#do({ do: "sendToFilter", filter, path, type, value });
    const next = async () => {
      const { error, ...result } = (await this.#do({ do: "result", request: id })).ok;
      return error ? { ...result, error: new PeerError(error) } : result;
    };
    const results = async (wanted = count) => {
      const all = [];
      while (all.length < wanted) all.push(await next());
      return all;
    };
    return { count, results };
  }

  /**
   * Registers a handler.
   *
   * @param {{ answer?: unknown, echo?: true, reject?: string, throw?: string, silence?: true }} action what it does;
   *   Python can `ask` too: send the request on to that path and answer with the response
   * @param {string[]} properties session properties of the sender that come along
   */
  async handle(path, type, action, properties = []) {
    return this.#handler(await this.#do({ do: "handle", path, type, action, properties }));
  }

  /** Adds a handler of requests addressed to this session, which does what `action` says. */
  async stream(path, type, action) {
    return this.#handler(await this.#do({ do: "stream", path, type, action }));
  }

  #handler({ id }) {
    return {
      /**
       * The next request: `{ value, path, sender, properties }`; an addressed one has no `sender` and no `properties`,
       * in Python no `path` either. Waits for it.
       */
      arrival: async () => (await this.#do({ do: "arrival", handler: id })).ok,
      /** Takes it back. Python cannot. */
      close: () => this.#do({ do: "unhandle", handler: id }),
    };
  }

  ping() {
    return this.#do({ do: "ping" });
  }

  /** Python only. */
  addTopic(path) {
    return this.#do({ do: "addTopic", path });
  }

  close() {
    this.#peer.forget(this);
    return this.#do({ do: "close" });
  }

  #do(command) {
    return this.#peer.perform({ ...command, session: this.#name });
  }
}

/** Our client, in a page of its own of `browser`. */
export async function ours(broker, browser) {
  const page = await openPage(broker, browser);
  const peer = new Peer(
    "our client",
    "ours",
    (command) => page.evaluate((it) => globalThis.perform(it), command),
    broker,
  );
  return Object.assign(peer, { page });
}

/** The official client for JavaScript. */
export function javascript(broker) {
  return new Peer("official JavaScript", "js", performByJavaScript(), broker);
}

/** The official client for Python, in a process of its own: `process`, which `stop` ends. */
export function python(broker) {
  const { perform, process, stop, exited } = startPython();
  return Object.assign(new Peer("official Python", "python", perform, broker), { process, stop, exited });
}
