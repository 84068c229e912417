// The services of the protocol, for what this package has no method for.

import { callSite } from "./error.js";
import { named } from "./platform.js";

/** Number and name, as docs/protocol.md has them in section 5.1. */
const SERVICES = [
  [5, "CHANGE_PRINCIPAL"],
  [14, "CLOSE_CLIENT"],
  [55, "SYSTEM_PING"],
  [56, "USER_PING"],
  [67, "GET_SESSION_PROPERTIES"],
  [85, "MESSAGING_SEND"],
  [86, "MESSAGING_RECEIVER_SERVER"],
  [88, "MESSAGING_RECEIVER_CLIENT"],
  [97, "MESSAGING_RECEIVER_CONTROL_REGISTRATION"],
  [98, "MESSAGING_RECEIVER_CONTROL_DEREGISTRATION"],
  [102, "MESSAGING_FILTER_SENDER"],
  [103, "FILTER_RESPONSE"],
  [105, "SET_SESSION_PROPERTIES"],
  [202, "GET_OWN_SESSION_PROPERTIES"],
  [203, "RE_AUTHENTICATE"],
];

/** The name of a service; empty for a number that has none. */
export function serviceName(id) {
  return SERVICES.find(([number]) => number === id)?.[1] ?? "";
}

/** The services of the protocol, by name and by number. */
export class ServiceLocator {
  #services = new Map();

  /** `invoke` takes the number of a service, a body, and where the application called. */
  constructor(invoke) {
    for (const [id, name] of SERVICES) {
      const service = Object.freeze({
        id,
        name,
        invoke: (body) => invoke(id, body, callSite(new Error())),
      });
      this[name] = service;
      this.#services.set(name, service).set(id, service);
    }
    Object.freeze(this);
  }

  get(nameOrId) {
    return this.#services.get(nameOrId);
  }

  *[Symbol.iterator]() {
    for (const [, name] of SERVICES) yield this[name];
  }
}

named("ServiceLocator", ServiceLocator);
