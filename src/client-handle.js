// Holds the client in Rust for as long as a session needs it.

import { featureBit } from "./options.js";

/** Holds the client: see `ClientPort` in boundary.ts. It is gone before the session begins and after its end. */
export class ClientHandle {
  port;
  #maxMessageSize = Infinity;
  #features = 0;

  /** What client and broker agreed on: the largest message, in bytes, and a bit for each feature. */
  agreed(maxMessageSize, features) {
    this.#maxMessageSize = maxMessageSize;
    this.#features = features;
  }

  /** Whether the feature is one of those that were agreed on. */
  supports(feature) {
    return ((this.#features >> featureBit(feature)) & 1) === 1;
  }

  /** What is wrong with the size of a value, if anything: what is too large is not even copied into the WebAssembly. */
  tooLarge({ length }) {
    const limit = this.#maxMessageSize;
    return length > limit ? `the message has ${length} bytes, the server takes ${limit} at most` : undefined;
  }

  /** Lets go of the client, which has nothing more to do. It holds on to us for as long as it is there. */
  release() {
    const client = this.port;
    this.port = undefined;
    this.#features = 0;
    // Not before it has returned from what it is doing.
    if (client) queueMicrotask(() => client.free());
  }
}
