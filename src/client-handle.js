// Holds the client in Rust for as long as a session needs it.

/** Holds the client: see `ClientPort` in boundary.ts. It is gone before the session begins and after its end. */
export class ClientHandle {
  port;
  /** That the broker takes, in bytes. */
  maxMessageSize = Infinity;

  /** What is wrong with the size of a value, if anything: what is too large is not even copied into the WebAssembly. */
  tooLarge({ length }) {
    const limit = this.maxMessageSize;
    return length > limit ? `the message has ${length} bytes, the server takes ${limit} at most` : undefined;
  }

  /** Lets go of the client, which has nothing more to do. It holds on to us for as long as it is there. */
  release() {
    const client = this.port;
    this.port = undefined;
    // Not before it has returned from what it is doing.
    if (client) queueMicrotask(() => client.free());
  }
}
