// Class `Messaging`, the operations, and class `Registration`. What applications read about them stands in `index.d.ts`.

import { callSite } from "./error.js";
import { gather } from "./gather.js";
import { requestHandler } from "./handler.js";
import { invalid, text } from "./options.js";
import { closeWhenDisposed, named } from "./platform.js";
import { ServiceLocator } from "./services.js";

/** The messaging component of a session. */
export class Messaging {
  #link;
  #services;

  constructor(link) {
    if (link?.messaging !== undefined || link?.ask === undefined) throw new TypeError("messaging comes from a session");
    this.#link = link;
  }

  get services() {
    this.#services ??= new ServiceLocator((id, body, site) => this.#invoke(id, body, site));
    return this.#services;
  }

  // What is sent is read and encoded before these return: the caller may change it afterwards.

  sendRequestToPath(path, request, options) {
    const link = this.#link;
    return link.ask(() => {
      const to = text("path", path);
      const { code, bytes, timeout, wait, responseCode, signal } = link.prepare(request, options);
      const conversation = link.client.sendToPath(to, code, bytes, timeout, wait);
      return { conversation, path: to, responseCode, signal };
    });
  }

  sendRequestToSession(path, sessionId, request, options) {
    const link = this.#link;
    return link.ask(() => {
      const to = text("path", path);
      const session = text("session ID", sessionId);
      const { code, bytes, timeout, wait, responseCode, signal } = link.prepare(request, options);
      const conversation = link.client.sendToSession(to, code, bytes, timeout, wait, session);
      return { conversation, path: to, responseCode, signal };
    });
  }

  sendRequestToFilter(filter, path, request, options) {
    const link = this.#link;
    return link.ask((site) => {
      const whom = text("filter", filter);
      const to = text("path", path);
      const { code, bytes, timeout, wait, responseCode, signal, onResponse } = link.prepare(request, options);
      const call = link.handlers.filterCall(whom, to, responseCode, onResponse);
      const [conversation, responses] = link.client.sendToFilter(to, code, bytes, timeout, wait, whom);
      link.wait(responses, Object.assign(call, { site }));
      // For as long as there are responses, which is longer than for their number.
      if (signal) link.heed(signal, responses, conversation);
      return { conversation, path: to };
    });
  }

  addRequestHandler(path, handler, options) {
    const link = this.#link;
    return link.ask(() => {
      const at = text("path", path);
      const checked = requestHandler(handler, options);
      const read = (registration) => {
        link.handlers.add(registration, at, checked);
        return new Registration(link, registration, at);
      };
      return { conversation: link.client.register(at, checked.sessionProperties, checked.reregister), read };
    });
  }

  addStreamHandler(path, handler, options) {
    return this.#openHandlers().addStream(path, handler, options);
  }

  addFilterResponseHandler(filter, handler) {
    return this.#openHandlers().addFilterHandler(filter, handler);
  }

  gather(filter, path, request, options) {
    return gather(this, callSite(new Error()), filter, path, request, options);
  }

  #openHandlers() {
    this.#link.assertOpen();
    return this.#link.handlers;
  }

  #invoke(id, body, site) {
    return this.#link.ask(() => {
      if (!(body instanceof Uint8Array)) throw invalid("the body of a service request must be a Uint8Array");
      return { conversation: this.#link.client.invoke(id, body) };
    }, site);
  }
}

/** A registered request handler. */
class Registration {
  #link;
  #id;

  constructor(link, id, path) {
    if (link?.ask === undefined) throw new TypeError("registrations come from addRequestHandler");
    this.#link = link;
    this.#id = id;
    this.path = path;
  }

  close() {
    const link = this.#link;
    // It may have ended with the session. Called again, it asks again: the first time may have failed.
    if (!link.handlers.has(this.#id)) return Promise.resolve();
    return link.ask(() => {
      return { conversation: link.client.deregister(this.#id), read: () => link.handlers.remove(this.#id) };
    });
  }
}

named("Messaging", Messaging);
named("Registration", Registration);
closeWhenDisposed(Registration);
