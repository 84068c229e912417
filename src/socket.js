// Guards a WebSocket that may be the application's: its events are read so that nothing in them can do harm.

import { closeQuietly, guarded, report } from "./platform.js";

/** The events of the WebSockets of one session. */
export class SocketEvents {
  #client;
  #describe;
  #socket;

  /** What the client wants done with a WebSocket: see `SocketShim` in boundary.ts. */
  shim = {
    listen: (connection, socket) => {
      this.#socket = socket;
      try {
        socket.binaryType = "arraybuffer";
        Object.assign(socket, this.#handlers(connection));
      } catch (error) {
        return this.#describe(error);
      }
    },
    closeSocket: closeQuietly,
  };

  /** `describe` gives the text of something that was thrown. */
  constructor(client, describe) {
    this.#client = client;
    this.#describe = describe;
  }

  /** Closes what is left of a client that has failed. */
  close() {
    if (this.#socket) closeQuietly(this.#socket);
  }

  #handlers(connection) {
    const client = this.#client;
    return guarded({
      onopen: () => client.port?.opened(connection),
      onmessage: (event) => {
        const frame = frameOf(event);
        if (frame) client.port?.received(connection, frame);
        else client.port?.receivedText(connection);
      },
      onclose: (event) => client.port?.disconnected(connection, codeOf(event), reasonOf(event)),
      // It says nothing that the close event after it does not say, but a library may throw if nobody listens.
      onerror: () => {},
    });
  }
}

/** What came in a binary message; undefined for another one. */
function frameOf(event) {
  try {
    const data = event?.data;
    // Not by its class: it may be of another realm, as in test environments.
    return typeof data === "object" && data ? new Uint8Array(data) : undefined;
  } catch (error) {
    report(error);
    return undefined;
  }
}

function codeOf(event) {
  try {
    return Number(event?.code) || 0;
  } catch (error) {
    report(error);
    return 0;
  }
}

function reasonOf(event) {
  try {
    return String(event?.reason ?? "");
  } catch {
    return "";
  }
}
