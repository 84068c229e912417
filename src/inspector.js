// Reports messages to the listeners of `session.inspect`.

import { flag, isFunction, members } from "./options.js";
import { call } from "./platform.js";
import { SERVICES } from "./tables.js";
import { decode, typeName } from "./value.js";

/** The listeners of `session.inspect`. */
export class Inspectors {
  #client;
  #inspectors = new Set();

  /** What the client tells while somebody watches: see `ClientListener` in boundary.ts. */
  listener = {
    inspected: (isOut, kind, service, conversation, path, code, name, bytes, size) => {
      const message = {
        direction: isOut ? "out" : "in",
        kind: KINDS[kind],
        service: serviceNames.get(service) ?? "",
        conversation,
      };
      if (path !== undefined) message.path = path;
      const type = code === 0 ? name : typeName(code);
      if (type) message.type = type;
      Object.assign(message, { size, time: performance.now() });
      // All read before the first listener runs, which may make the bytes move.
      const told = [...this.#inspectors].map(({ listener, values }) => {
        return {
          listener,
          message: values && type ? { ...message, value: readValue(code, name, bytes) } : { ...message },
        };
      });
      for (const { listener, message } of told) call(listener, message);
    },
  };

  constructor(client) {
    this.#client = client;
  }

  /** Whether anybody watches. */
  get isWatched() {
    return this.#inspectors.size > 0;
  }

  /** Calls `listener` with messages as they pass; returns the function that ends it. */
  add(listener, options) {
    if (!isFunction(listener)) throw new TypeError("a listener must be a function");
    const { values } = members(options, ["values"]);
    const inspector = { listener, values: flag("values", values) };
    this.#inspectors.add(inspector);
    if (this.#inspectors.size === 1) this.#client.port?.inspect(true);
    return () => {
      if (this.#inspectors.delete(inspector) && !this.isWatched) this.#client.port?.inspect(false);
    };
  }
}

const serviceNames = new Map(SERVICES);

const KINDS = ["request", "response", "error"];

/** A value that passes; undefined if it cannot be read. */
function readValue(code, name, bytes) {
  try {
    return decode(code, name, bytes, 0);
  } catch {
    return undefined;
  }
}
