// src/boundary.ts, held against both of its sides: the class that the bindings generator makes of src/client.rs, and the
// functions that src/session-parts.js puts together.

import type { Client } from "../../build/wasm/antiphon.js";
import type { ClientListener, ClientPort, SocketPort, SocketShim } from "../../src/boundary.js";
import type { SessionParts } from "../../src/session-parts.js";

export function portOf(client: Client): ClientPort & SocketPort {
  return client;
}

export function listenerOf(parts: SessionParts): ClientListener & SocketShim {
  return parts.listener();
}
