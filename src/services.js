// Calls services of the protocol that this package has no method for, by name or number.

import { callSite } from "./error.js";
import { bindMembers, named } from "./platform.js";
import { SERVICES } from "./tables.js";

/** The services of the protocol, by name and by number. */
export class ServiceLocator {
  #services = new Map();

  /** `invoke` takes the number of a service, a body, and where the application called. */
  constructor(invoke) {
    for (const [id, name] of SERVICES) {
      const service = { id, name, invoke: (body) => invoke(id, body, callSite()) };
      this[name] = service;
      this.#services.set(name, service).set(id, service);
    }
    bindMembers(this);
  }

  get(nameOrId) {
    return this.#services.get(nameOrId);
  }

  *[Symbol.iterator]() {
    for (const [, name] of SERVICES) yield this[name];
  }
}

named("ServiceLocator", ServiceLocator);
