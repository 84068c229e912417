// Checks values at run time against a contract: Standard Schemas by path.

import { ConnectError, InvalidRequestError, MessagingError } from "./error.js";
import { invalid, isFunction } from "./options.js";
import { untyped } from "./value.js";

/** The contract among the options of `connect`; undefined if there is none. */
export function contractOf(options) {
  let cause;
  try {
    const contract = options?.contract;
    if (contract === undefined) return undefined;
    if (isObject(contract)) {
      const paths = Object.entries(contract).map(([path, sides]) => [normal(path), sides]);
      const byPath = new Map(paths);
      if (byPath.size === paths.length && paths.every(([, sides]) => areSides(sides))) return new Contract(byPath);
    }
  } catch (thrown) {
    cause = thrown;
  }
  const text =
    "contract must be an object of { request, response } by path, each path once, each side a Standard Schema";
  throw new ConnectError("INVALID_ARGUMENT", text, false, cause);
}

function areSides(sides) {
  const isSchema = (schema) => schema === undefined || isFunction(schema?.["~standard"]?.validate);
  return isObject(sides) && isSchema(sides.request) && isSchema(sides.response);
}

function isObject(value) {
  return typeof value === "object" && value !== null;
}

/** What the broker takes as the same path (rules M-2). */
function normal(path) {
  return path.replace(/^\/|\/$/g, "");
}

/** What is agreed on the values for each path. Checks never replace a value. */
class Contract {
  #byPath;

  constructor(byPath) {
    this.#byPath = byPath;
  }

  /** Throws if the request is not to be sent. */
  checkRequest(path, request) {
    const fault = this.#faultIn("request", path, request);
    // What is sent is sent at the call, so there is no time to wait for a check.
    if (isFunction(fault?.then)) throw invalid(`the schema of the request for ${path} must not be asynchronous`);
    if (fault !== undefined) throw new MessagingError("INVALID_DATA", fault, "not-sent");
  }

  /** A response that arrived, or a promise of it: it throws, or rejects, if it is not what was agreed. */
  checked(path, response) {
    return this.#checked("response", path, response, (fault) => new MessagingError("INVALID_DATA", fault, "failed"));
  }

  /** The response that `answer` gives to a request, if both are what was agreed. */
  async serve(path, request, answer) {
    await this.#checked("request", path, request, (fault) => new InvalidRequestError(fault));
    return this.#checked("response", path, await answer(), (fault) => new Error(fault));
  }

  /** The value, or a promise of it; `errorOf` makes what is thrown otherwise. */
  #checked(side, path, value, errorOf) {
    const verdict = (fault) => {
      if (fault !== undefined) throw errorOf(fault);
      return value;
    };
    const fault = this.#faultIn(side, path, value);
    return isFunction(fault?.then) ? fault.then(verdict) : verdict(fault);
  }

  /** What is wrong with a value, or a promise of it; undefined for nothing. */
  #faultIn(side, path, value) {
    const schema = this.#byPath.get(normal(path))?.[side];
    if (schema === undefined) return undefined;
    const told = (issues) => issues && `the ${side} for ${path} is not what its contract says: ${issues}`;
    try {
      const result = schema["~standard"].validate(untyped(value));
      return isFunction(result?.then)
        ? Promise.resolve(result).then(textOfIssues).catch(String).then(told)
        : told(textOfIssues(result));
    } catch (thrown) {
      return told(String(thrown));
    }
  }
}

function textOfIssues({ issues }) {
  if (!issues) return undefined;
  const step = (key) => String(key?.key ?? key);
  return (
    issues.map(({ message, path }) => [...(path ?? []).map(step), message].join(": ")).join("; ") || "no issue is named"
  );
}
