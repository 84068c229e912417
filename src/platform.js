// What of the platform is easier to reach from JavaScript: where this client runs, addresses, promises, the console.

import { ConnectError } from "./error.js";

/** A promise and the functions that settle it. */
export class Deferred {
  constructor() {
    this.promise = new Promise((resolve, reject) => {
      this.resolve = resolve;
      this.reject = reject;
    });
  }
}

/** A promise that settles when `promise` does, without its value. */
export function withoutValue(promise) {
  return promise.then(() => {});
}

/** Writes to the console with one of its methods. */
export function log(method, message) {
  console[method](`antiphon: ${message}`);
}

/** What the session property `$Environment` says, e.g. `BROWSER_Chrome_156` or `NODE_linux_22.11.0`. */
export function environment() {
  const { process, navigator } = globalThis;
  if (process?.versions?.node) return `NODE_${process.platform}_${process.versions.node}`;
  // The first that fits: Chromium's relatives name Chrome and Safari as well.
  const browsers = [
    ["Edge", /Edg\w*\/(\d+)/],
    ["Opera", /OPR\/(\d+)/],
    ["Firefox", /Firefox\/(\d+)/],
    ["Chrome", /Chrom\w*\/(\d+)/],
    ["Safari", /Version\/(\d+).*Safari/],
  ];
  for (const [name, pattern] of browsers) {
    const version = pattern.exec(navigator?.userAgent ?? "")?.[1];
    if (version) return `BROWSER_${name}_${version}`;
  }
  return "BROWSER_unknown_0";
}

/** The address that `url` stands for, ready to have a query appended. Throws a `ConnectError`. */
export function serverAddress(url) {
  if (typeof url !== "string" && !(url instanceof URL)) throw invalidUrl("the URL must be a string or a URL");
  let address;
  try {
    address = new URL(url);
  } catch (cause) {
    throw invalidUrl(`"${url}" is not a URL; write ws://host:port or wss://host`, cause);
  }
  // Kept apart from the URL's own setter, which does not change every scheme into every other.
  const scheme = { "ws:": "ws:", "wss:": "wss:", "http:": "ws:", "https:": "wss:" }[address.protocol];
  if (scheme === undefined) {
    throw invalidUrl(`the URL must begin with ws://, wss://, http:// or https://, not ${address.protocol}`);
  }
  if (address.username || address.password) {
    throw invalidUrl("the URL must not have a user name or password; use the options principal and credentials");
  }
  const path = address.pathname === "/" ? "/diffusion" : address.pathname;
  return `${scheme}//${address.host}${path}${address.search || "?"}${address.search ? "&" : ""}`;
}

function invalidUrl(message, cause) {
  return new ConnectError("INVALID_URL", message, false, cause);
}
