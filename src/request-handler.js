// Class `RequestHandler`: a request handler as an object, and what counts as one.

import { isFunction, isMissing, members, TYPES } from "./options.js";
import { bindMembers, named } from "./platform.js";

const registered = new WeakSet();

/** A request handler as an object, with the data types that it takes and gives. */
export class RequestHandler {
  #callback;

  constructor(callback, options) {
    if (!isFunction(callback)) throw new TypeError("a request handler needs a function");
    this.#callback = callback;
    const { requestType, responseType } = members(options, TYPES);
    this.requestType = requestType;
    this.responseType = responseType;
    bindMembers(this);
  }

  handle(event, args) {
    if (!isMissing(event) && event !== "request") throw new TypeError(`there is no event ${event}, only request`);
    return this.#callback(args.request, args);
  }

  /** Makes the instances of a class count as request handlers; returns the class. */
  static register(type) {
    registered.add(type.prototype);
    return type;
  }

  /** Whatever can handle requests is a request handler. */
  static [Symbol.hasInstance](value) {
    if (isFunction(value?.handle)) return true;
    let type = isMissing(value) ? null : Object.getPrototypeOf(value);
    while (type !== null && !registered.has(type)) type = Object.getPrototypeOf(type);
    return type !== null;
  }
}

named("RequestHandler", RequestHandler);
