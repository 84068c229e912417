// Opening a session, and class `Session`, which applications have.

import { ConnectError } from "./error.js";
import { Link } from "./link.js";
import { checkedCredentials, connectOptions, propertyKeys, serverAddress, text } from "./options.js";
import { closeWhenDisposed, named } from "./platform.js";

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
 * Opens a session with what was prepared; `create` makes an instance of class `Client` in Rust.
 *
 * @param {number} elapsed the part of the time allowed that has passed already, in milliseconds
 */
export async function open(create, prepared, elapsed) {
  if (prepared.signal?.aborted) throw prepared.signal.reason;
  const link = new Link(prepared);
  await link.connect(create, elapsed);
  return new Session(link);
}

/** A session with a broker. */
export class Session {
  #link;

  constructor(link) {
    if (!(link instanceof Link)) throw new TypeError("sessions come from connect");
    this.#link = link;
  }

  get id() {
    return this.#link.id;
  }

  get principal() {
    return this.#link.principal;
  }

  get state() {
    return this.#link.state;
  }

  get messaging() {
    return this.#link.messaging;
  }

  get services() {
    return this.messaging.services;
  }

  get closed() {
    return this.#link.closed.promise;
  }

  on(event, listener) {
    return this.#link.emitter.on(event, listener);
  }

  inspect(listener, options) {
    return this.#link.inspect(listener, options);
  }

  ping() {
    return this.#link.ask(() => ({ conversation: this.#link.client.ping() }));
  }

  getProperties(keys) {
    return this.#link.ask(() => {
      const wanted = propertyKeys(keys);
      // This defines the keys, whatever they are.
      return { conversation: this.#link.client.getProperties(wanted), read: Object.fromEntries };
    });
  }

  changePrincipal(principal, credentials) {
    const link = this.#link;
    return link.ask(() => {
      const name = text("principal", principal);
      const read = (changed) => {
        if (changed) link.principal = name;
        return changed;
      };
      return { conversation: link.client.changePrincipal(name, checkedCredentials(credentials)), read };
    });
  }

  close() {
    return this.#link.close();
  }
}

named("Session", Session);
closeWhenDisposed(Session);
