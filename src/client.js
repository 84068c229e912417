// The public API, which both entries of the package export.

import { contractOf } from "./contract.js";
import { ConnectError, callSite, ours, seenFrom } from "./error.js";
import { loaded } from "./load.js";
import { open, prepare } from "./session.js";

export { ConnectError, InvalidFilterError, MessagingError, RejectedRequestError } from "./error.js";
export { init } from "./load.js";
export { RequestHandler } from "./request-handler.js";
export { DataValue, datatypes } from "./value.js";

/** In a list of session properties: all fixed ones. */
export const ALL_FIXED_PROPERTIES = "*F";
/** In a list of session properties: all user-defined ones. */
export const ALL_USER_PROPERTIES = "*U";
/** The principal of a session that did not say who it is. */
export const ANONYMOUS = "";

/** Text as it stands between the quotes of a string in a session filter. */
export function escapeFilter(text) {
  if (typeof text !== "string") throw new TypeError("escapeFilter takes a string");
  return text.replace(/["'\\]/g, "\\$&");
}

/** Opens a session. */
export async function connect(url, options) {
  const site = callSite();
  try {
    return await connectFrom(url, options);
  } catch (error) {
    throw seenFrom(site, error);
  }
}

async function connectFrom(url, options) {
  const started = performance.now();
  // First: what can be told without the WebAssembly.
  const prepared = { ...prepare(url, options), contract: contractOf(options) };
  if (!(prepared.webSocket ?? globalThis.WebSocket)) {
    const message =
      "there is no WebSocket here; pass a constructor as the option webSocket, e.g. that of the package ws";
    throw new ConnectError("CONNECTION_ERROR", message, false);
  }
  const instance = await loaded(prepared.signal, prepared.connectTimeout);
  return open(instance, prepared, performance.now() - started);
}

ours.end = new Error();
