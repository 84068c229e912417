// src/boundary.ts, held against both of its sides: the functions that the bindings generator makes of src/client.rs, and
// those that src/session-parts.js puts together.

import type * as client from "../../build/wasm/antiphon.js";
import type { ClientListener, ClientPort, SocketPort, SocketShim } from "../../src/boundary.js";
import type { SessionParts } from "../../src/session-parts.js";

/** Functions that have the number of a client in front, without it. */
type OfOneClient<Functions> = {
  [Name in keyof Functions]: Functions[Name] extends (client: number, ...rest: infer Rest) => infer Result
    ? (...rest: Rest) => Result
    : never;
};

export function portOf(port: OfOneClient<typeof client>): ClientPort & SocketPort {
  return port;
}

export function listenerOf(parts: SessionParts): ClientListener & SocketShim {
  return parts.listener();
}
