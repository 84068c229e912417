// What of messaging is plain JavaScript and no matter of a connection: gathering responses, the services, class
// `RequestHandler`, contracts that are checked at run time.

import { ConnectError, InvalidRequestError, MessagingError, showCaller } from "./error.js";
import { Collector } from "./handler.js";
import { Deferred, invalid, isFunction, isMissing, members, optional, REQUEST_OPTIONS } from "./session.js";
import { DataValue } from "./value.js";

// ---- Gathering ----

/** Sends a request to a filter at once; returns its responses, to be iterated over as they arrive. */
export function gather(messaging, filter, path, request, options) {
  const site = new Error();
  const results = []; // that nobody has taken yet
  const stop = new AbortController();
  let changed = new Deferred();
  let end; // `{ error }` once nothing more will come
  let [values, received] = [0, 0];
  let count; // of the sessions that match, once it is known
  let atLeast;
  let signal;
  const abort = () => finish(signal.reason);

  function finish(error) {
    if (end) return;
    end = { error };
    signal?.removeEventListener("abort", abort);
    stop.abort(error); // the rest of the responses is of no interest
    changed.resolve();
  }

  function notEnough() {
    const text = `only ${values} of the ${count ?? 0} matching sessions gave a response, at least ${atLeast} are needed`;
    return showCaller(new MessagingError("NOT_ENOUGH", text, "unknown"), site);
  }

  /** Whether there can still be as many responses as are wanted. */
  function check() {
    if (values + count - received < atLeast) finish(notEnough());
  }

  function take({ sessionId, value, error, ...numbers }) {
    if (end) return;
    // The count may be known here sooner than its promise settles.
    received = numbers.received;
    count = numbers.expected || count;
    if (error === undefined) values += 1;
    results.push(error === undefined ? { sessionId, value } : { sessionId, error });
    if (values === atLeast) finish();
    else check();
    changed.resolve();
    changed = new Deferred();
  }

  function send() {
    const given = members(options, [...REQUEST_OPTIONS, "atLeast"]);
    const isCount = (number) => Number.isSafeInteger(number) && number > 0;
    atLeast = optional("atLeast", given.atLeast, "a whole number of responses, at least 1", isCount);
    if (given.signal instanceof AbortSignal && !given.signal.aborted) {
      signal = given.signal;
      signal.addEventListener("abort", abort);
      given.signal = stop.signal;
    }
    given.signal ??= stop.signal;
    const onResponse = new Collector(take, (error) => {
      finish(error ?? (values < atLeast ? notEnough() : undefined));
    });
    return messaging.sendRequestToFilter(filter, path, request, { ...given, onResponse });
  }

  // What is wrong with the arguments is an error of the promise and of the iteration.
  let sent;
  try {
    sent = send();
  } catch (error) {
    sent = Promise.reject(error);
  }
  const expected = sent.then(
    (number) => {
      count = number;
      check();
      return number;
    },
    (thrown) => {
      const error = seenFrom(site, thrown);
      finish(error);
      throw error;
    },
  );
  expected.catch(() => {}); // nobody has to look at it

  return {
    expected,
    async next() {
      while (results.length === 0 && !end) await changed.promise;
      if (results.length > 0) return { value: results.shift(), done: false };
      const { error } = end;
      end = {};
      if (error !== undefined) throw error;
      return { value: undefined, done: true };
    },
    async return(value) {
      finish();
      end = {};
      results.length = 0;
      return { value, done: true };
    },
    [Symbol.asyncIterator]() {
      return this;
    },
  };
}

/** An error of ours with the stack of `site`, which is nearer to the application than where it was made. */
function seenFrom(site, error) {
  return error instanceof MessagingError ? showCaller(error, site) : error;
}

// ---- Services ----

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

/** The services of the protocol, by name and by number. */
class ServiceLocator {
  #services = new Map();

  constructor(invoke) {
    for (const [id, name] of SERVICES) {
      const service = Object.freeze({
        id,
        name,
        async invoke(body) {
          const site = new Error();
          try {
            return await invoke(id, body);
          } catch (error) {
            throw seenFrom(site, error);
          }
        },
      });
      this[name] = service;
      this.#services.set(name, service).set(id, service);
    }
  }

  get(nameOrId) {
    return this.#services.get(nameOrId);
  }

  *[Symbol.iterator]() {
    for (const [, name] of SERVICES) yield this[name];
  }
}

const locators = new WeakMap();

/** The services of a session: always the same object. `invoke` takes the number of a service and a body. */
export function services(messaging, invoke) {
  if (!locators.has(messaging)) {
    locators.set(messaging, Object.freeze(new ServiceLocator((id, body) => invoke.call(messaging, id, body))));
  }
  return locators.get(messaging);
}

// ---- Class RequestHandler ----

const registered = new WeakSet();

/** A request handler as an object, with the data types that it takes and gives. */
export class RequestHandler {
  #callback;

  constructor(callback, options) {
    if (!isFunction(callback)) throw new TypeError("a request handler needs a function");
    this.#callback = callback;
    this.requestType = options?.requestType;
    this.responseType = options?.responseType;
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
    for (let object = value; object instanceof Object; object = Object.getPrototypeOf(object)) {
      if (registered.has(Object.getPrototypeOf(object))) return true;
    }
    return false;
  }
}

// ---- Contracts ----

/** The contract among the options of `connect`, checked: Standard Schemas by path; undefined if there is none. */
export function contractOf(options) {
  let cause;
  try {
    const contract = options?.contract;
    if (contract === undefined) return undefined;
    const isSchema = (schema) => schema === undefined || isFunction(schema?.["~standard"]?.validate);
    const isContract = (sides) => isObject(sides) && isSchema(sides.request) && isSchema(sides.response);
    if (isObject(contract) && Object.values(contract).every(isContract)) return contract;
  } catch (thrown) {
    cause = thrown;
  }
  const text = "contract must be an object of { request, response } by path, each a Standard Schema";
  throw new ConnectError("INVALID_ARGUMENT", text, false, cause);
}

function isObject(value) {
  return typeof value === "object" && value !== null;
}

/** Checks every request and response of a messaging component against a contract. Checks never replace a value. */
export function applyContract(messaging, contract) {
  const { sendRequestToPath, addRequestHandler } = messaging;
  const sidesOf = (path) => (typeof path === "string" && Object.hasOwn(contract, path) ? contract[path] : {});

  messaging.sendRequestToPath = async (path, request, options) => {
    const site = new Error();
    const sides = sidesOf(path);
    const refuse = (what, fault, outcome) => {
      const text = `the ${what} for ${path} is not what its contract says: ${fault}`;
      throw showCaller(new MessagingError("INVALID_DATA", text, outcome), site);
    };
    const fault = faultIn(sides.request, request);
    // What is sent is sent at the call, so there is no time to wait for a check.
    if (isFunction(fault?.then)) throw invalid(`the schema of the request for ${path} must not be asynchronous`);
    if (fault !== undefined) refuse("request", fault, "not-sent");
    const response = await sendRequestToPath.call(messaging, path, request, options);
    const responseFault = await faultIn(sides.response, response);
    if (responseFault !== undefined) refuse("response", responseFault, "failed");
    return response;
  };

  messaging.addRequestHandler = (path, given, options) => {
    const checked = {
      // Read from the handler when they are wanted, as without a contract.
      get handle() {
        return isFunction(given) || isFunction(given?.handle) ? serve : undefined;
      },
      get requestType() {
        return isFunction(given) ? undefined : given.requestType;
      },
      get responseType() {
        return isFunction(given) ? undefined : given.responseType;
      },
    };
    async function serve(event, context) {
      const { path, request } = context;
      const sides = sidesOf(path);
      const fault = await faultIn(sides.request, request);
      if (fault !== undefined) throw new InvalidRequestError(`the request is not what its contract says: ${fault}`);
      const response = await (isFunction(given) ? given(request, context) : given.handle(event, context));
      const responseFault = await faultIn(sides.response, response);
      if (responseFault !== undefined) throw new Error(`the response is not what its contract says: ${responseFault}`);
      return response;
    }
    return addRequestHandler.call(messaging, path, checked, options);
  };
}

/** What a schema finds wrong with a value, or a promise of it; undefined for nothing. */
function faultIn(schema, value) {
  if (schema === undefined) return undefined;
  try {
    const result = schema["~standard"].validate(value instanceof DataValue ? value.value : value);
    return isFunction(result?.then) ? Promise.resolve(result).then(textOfIssues).catch(String) : textOfIssues(result);
  } catch (thrown) {
    return String(thrown);
  }
}

function textOfIssues({ issues }) {
  if (!issues) return undefined;
  const step = (key) => String(key?.key ?? key);
  return issues.map(({ message, path }) => [...(path ?? []).map(step), message].join(": ")).join("; ");
}
