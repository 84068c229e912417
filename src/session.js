// Opening a session, and class `Session`, which applications have.

import { ConnectError } from "./error.js";
import { Messaging } from "./messaging.js";
import { checkedCredentials, connectOptions, propertyKeys, serverAddress, text } from "./options.js";
import { bindMembers, named, reasonOf, shown } from "./platform.js";
import { SessionParts } from "./session-parts.js";

/** What `connect` was given, checked; throws a `ConnectError`. */
export function prepare(url, options) {
  const address = serverAddress(url);
  try {
    return { address, ...connectOptions(options) };
  } catch (error) {
    throw new ConnectError("INVALID_ARGUMENT", error.message, false, error);
  }
}

/**
 * Opens a session with what was prepared, with a client in `instance`, one of the WebAssembly.
 *
 * @param {number} elapsed the part of the time allowed that has passed already, in milliseconds
 */
export async function open(instance, prepared, elapsed) {
  if (prepared.signal?.aborted) throw reasonOf(prepared.signal);
  const parts = new SessionParts(prepared);
  await parts.connect(instance, elapsed);
  return new Session(parts);
}

/** A session with a broker. */
export class Session {
  #parts;
  #messaging;

  constructor(parts) {
    if (!(parts instanceof SessionParts)) throw new TypeError("sessions come from connect");
    this.#parts = parts;
    this.#messaging = new Messaging(parts);
    bindMembers(this);
  }

  get id() {
    return this.#parts.life.id;
  }

  get principal() {
    return this.#parts.life.principal;
  }

  get state() {
    return this.#parts.life.state;
  }

  get messaging() {
    return this.#messaging;
  }

  get services() {
    return this.#messaging.services;
  }

  get closed() {
    return this.#parts.life.closed.promise;
  }

  on(event, listener) {
    return this.#parts.life.on(event, listener);
  }

  supports(feature) {
    return this.#parts.client.supports(feature);
  }

  inspect(listener, options) {
    return this.#parts.inspectors.add(listener, options);
  }

  ping() {
    const { calls } = this.#parts;
    return calls.make(({ number }) => this.#parts.port.ping(number));
  }

  reconnect() {
    this.#parts.client.port?.wake(false);
  }

  getProperties(keys) {
    const { calls } = this.#parts;
    return calls.make((call) => {
      // This defines the keys, whatever they are.
      call.read = Object.fromEntries;
      const wanted = propertyKeys(keys);
      this.#parts.port.getProperties(call.number, wanted);
    });
  }

  changePrincipal(principal, credentials) {
    const { calls, life } = this.#parts;
    const change = () => {
      life.keeper += 1;
    };
    return calls.make((call) => {
      const name = text("principal", principal);
      const checked = checkedCredentials(credentials);
      // As whom requests are sent is not known before it has come to its end.
      change();
      call.promise.then(change, change);
      call.read = (changed) => {
        if (changed) life.principal = name;
        return changed;
      };
      this.#parts.port.changePrincipal(call.number, name, checked);
    });
  }

  close() {
    const { client, life } = this.#parts;
    client.port?.close();
    return life.closed.promise.then(() => {});
  }
}

named("Session", Session);
shown(Session, ["id", "principal", "state"]);
