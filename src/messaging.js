// Class `Messaging`, the operations, and class `Registration`. What applications read about them stands in `index.d.ts`.

import { Call, Calls } from "./calls.js";
import { callSite, messagingError } from "./error.js";
import { FilterCall } from "./filter-calls.js";
import { gather } from "./gather.js";
import { Handler } from "./handler.js";
import {
  abortSignal,
  callable,
  FILTER_OPTIONS,
  invalid,
  isFunction,
  members,
  patience,
  prepareRequest,
  REQUEST_OPTIONS,
  text,
} from "./options.js";
import { bindMembers, named, reasonOf, report, call as tell } from "./platform.js";
import { sendRepeatedly } from "./retry.js";
import { ServiceLocator } from "./services.js";
import { bytesOf } from "./value-writer.js";

// Whom a request is for: see `Recipient` in boundary.ts.
const TO_PATH = 0;
const TO_SESSION = 1;
const TO_FILTER = 2;

// What is looked for: see `Sought` in boundary.ts.
const COUNT = 0;
const FIND = 1;
const WATCH = 2;

const asFound = (found) => found && { path: found[0], handlers: found[1] };

/** The messaging component of a session. */
export class Messaging {
  #parts;
  #services;

  constructor(parts) {
    if (!(parts?.calls instanceof Calls)) throw new TypeError("messaging comes from a session");
    this.#parts = parts;
    bindMembers(this);
  }

  get services() {
    this.#services ??= new ServiceLocator((id, body, site) => this.#invoke(id, body, site));
    return this.#services;
  }

  // These have done their work when they return: what the caller changes afterwards is not sent.

  sendRequestToPath(path, request, options) {
    return this.#send(TO_PATH, "", path, request, options);
  }

  sendRequestToSession(path, sessionId, request, options) {
    return this.#send(TO_SESSION, sessionId, path, request, options);
  }

  sendRequestToFilter(filter, path, request, options) {
    return this.#send(TO_FILTER, filter, path, request, options);
  }

  addRequestHandler(path, handler, options) {
    const { calls, client, contract, handlers } = this.#parts;
    return calls.make((call) => {
      const at = text("path", path);
      const added = new Handler(at, handler, options, false, contract);
      const { sessionProperties, reregister, addressed, timeout, maxConcurrent, maxQueued, signal, wait } = added;
      if (signal?.aborted) throw reasonOf(signal);
      const number = handlers.add(added);
      call.failed = () => handlers.remove(number);
      call.read = () => new Registration(this.#parts, number, added);
      if (signal) {
        calls.abortBy(signal, call, () => {
          handlers.remove(number);
          client.port?.abandon(call.number);
        });
      }
      const { port } = this.#parts;
      port.registerHandler(
        call.number,
        number,
        at,
        sessionProperties,
        reregister,
        addressed,
        timeout,
        maxConcurrent,
        maxQueued,
        wait,
      );
    });
  }

  addStreamHandler(path, handler, options) {
    const { contract, handlers, port } = this.#parts;
    const at = text("path", path);
    const added = new Handler(at, handler, options, true, contract);
    const number = handlers.add(added);
    port.addStream(number, at, added.addressed, added.timeout);
    return new Registration(this.#parts, number, added);
  }

  addFilterResponseHandler(filter, handler, options) {
    const { filterHandlers, life } = this.#parts;
    life.assertOpen();
    const signal = abortSignal(members(options, ["signal"]).signal);
    const close = filterHandlers.add(text("filter", filter), callable(handler, "a filter response handler"), signal);
    return { filter, close };
  }

  countSessions(filter, options) {
    return this.#look(COUNT, "filter", filter, options);
  }

  findHandlers(path, options) {
    return this.#look(FIND, "path", path, options, (call) => {
      call.read = asFound;
    });
  }

  watchHandlers(path, listener, options) {
    const { calls, life } = this.#parts;
    return this.#look(WATCH, "path", path, options, (call, abandon) => {
      if (!isFunction(listener)) throw invalid("the listener must be a function");
      let told;
      call.staysOpen = true;
      call.read = (found) => {
        // The broker is asked anew on each connection, and perhaps nothing has changed.
        if (told !== `${found}`) {
          told = `${found}`;
          tell(listener, asFound(found));
        }
        // The promise is kept: nobody else hears of it. With the session it ends without a word.
        call.failed = (error) => life.state === "closed" || report(error);
        call.explain = (error) => {
          error.message = `the watch of ${path} is over: ${error.code}, ${error.message}; call watchHandlers again`;
        };
        return { close: async () => calls.giveUp(call, abandon) };
      };
    });
  }

  gather(filter, path, request, options) {
    return gather(this, callSite(), filter, path, request, options);
  }

  /** Sends a request; `recipient` is a `TO_...`, and `whom` says who that is. */
  #send(recipient, whom, path, request, options) {
    const { calls, client, contract, filterHandlers, inspectors, requestTimeout } = this.#parts;
    const isToFilter = recipient === TO_FILTER;
    const send = (call) => {
      const who = recipient === TO_PATH ? "" : text(isToFilter ? "filter" : "session ID", whom);
      const to = text("path", path);
      if (contract) {
        contract.checkRequest(to, request);
        call.check = (response) => contract.checked(to, response);
      }
      const names = isToFilter ? FILTER_OPTIONS : REQUEST_OPTIONS;
      const prepared = prepareRequest(request, options, names, requestTimeout);
      const { code, isTimeTold, key, metadata, responseCode, signal, within, retry } = prepared;
      if (key && isToFilter) throw invalid("a request to a filter has no idempotencyKey: each session would need one");
      // They may be the application's own, which may change them meanwhile.
      const bytes = retry ? prepared.bytes.slice() : prepared.bytes;
      const fault = client.tooLarge(bytes);
      if (fault) throw messagingError("MESSAGE_TOO_LARGE", fault, "not-sent");
      call.responseCode = responseCode;
      if (isToFilter) call.expectResponses(who, to, prepared.onResponse, filterHandlers);
      const abandon = (number) => client.port?.abandon(number);
      if (signal) calls.abortBy(signal, call, abandon);
      if (within) calls.abortBy(within.signal, call, abandon);
      if (inspectors.isWatched) call.measure(to);
      const attempt = (timeout, wait) => {
        const { port } = this.#parts;
        port.send(call.number, recipient, who, to, code, bytes, timeout, wait, isTimeTold, key, metadata);
      };
      if (retry) sendRepeatedly(this.#parts, call, prepared, attempt);
      else attempt(prepared.timeout, prepared.wait);
    };
    return calls.make(send, isToFilter ? FilterCall : Call);
  }

  /** Asks the broker what there is, a `Sought` in boundary.ts; `prepare` says what becomes of the answer. */
  #look(what, name, whom, options, prepare) {
    const { calls, client, requestTimeout } = this.#parts;
    return calls.make((call) => {
      const sought = text(name, whom);
      const given = members(options, what === WATCH ? ["signal"] : ["signal", "timeout"]);
      const timeout = patience("timeout", given.timeout) ?? requestTimeout;
      const signal = abortSignal(given.signal);
      if (signal?.aborted) throw reasonOf(signal);
      const abandon = (number) => client.port?.abandon(number);
      if (signal) calls.abortBy(signal, call, abandon);
      prepare?.(call, abandon);
      this.#parts.port.look(call.number, what, sought, timeout);
    });
  }

  #invoke(id, body, site) {
    const { calls } = this.#parts;
    const invoke = ({ number }) => {
      const bytes = bytesOf(body);
      if (!bytes) throw invalid("the body of a service request must be a Uint8Array");
      this.#parts.port.invoke(number, id, bytes);
    };
    return calls.make(invoke, Call, site);
  }
}

/** A registered request handler, or a stream handler that was added. */
class Registration {
  #parts;
  #number;
  #closed = Promise.resolve();

  constructor(parts, number, handler) {
    if (!(parts?.calls instanceof Calls)) throw new TypeError("registrations come from addRequestHandler");
    this.#parts = parts;
    this.#number = number;
    this.path = handler.path;
    bindMembers(this);
    handler.closeBy(() => this.close());
  }

  close() {
    const { calls, client, handlers } = this.#parts;
    // It may have ended before, or with the session.
    const handler = handlers.remove(this.#number);
    if (handler?.isStream) client.port.removeStream(this.#number);
    else if (handler) {
      const ended = calls.make((call) => client.port.deregisterHandler(call.number, this.#number));
      // It is closed whatever becomes of that.
      this.#closed = ended.catch(() => {});
    }
    return this.#closed;
  }
}

named("Messaging", Messaging);
named("Registration", Registration);
