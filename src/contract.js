// Checks values at run time against a contract: Standard Schemas by path.

import { ConnectError, callSite, InvalidRequestError, MessagingError, seenFrom } from "./error.js";
import { invalid, isFunction } from "./options.js";
import { DataValue } from "./value.js";

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

  messaging.sendRequestToPath = showingCaller(async (path, request, options) => {
    const sides = sidesOf(path);
    const refuse = (what, fault, outcome) => {
      const text = `the ${what} for ${path} is not what its contract says: ${fault}`;
      throw new MessagingError("INVALID_DATA", text, outcome);
    };
    const fault = faultIn(sides.request, request);
    // What is sent is sent at the call, so there is no time to wait for a check.
    if (isFunction(fault?.then)) throw invalid(`the schema of the request for ${path} must not be asynchronous`);
    if (fault !== undefined) refuse("request", fault, "not-sent");
    const response = await sendRequestToPath.call(messaging, path, request, options);
    const responseFault = await faultIn(sides.response, response);
    if (responseFault !== undefined) refuse("response", responseFault, "failed");
    return response;
  });

  messaging.addRequestHandler = showingCaller((path, given, options) => {
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
  });
}

/** The function, whose errors show where the application called it. */
function showingCaller(method) {
  return async (...args) => {
    const site = callSite(new Error());
    try {
      return await method(...args);
    } catch (error) {
      throw seenFrom(site, error);
    }
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
