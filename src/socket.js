// Guards a WebSocket that may be the application's: its events are read so that nothing in them can do harm.

import { closeQuietly, guarded, report } from "./platform.js";
import { copyOf } from "./value-writer.js";

/** The events of the WebSockets of one session. */
export class SocketEvents {
  #client;
  #describe;
  #door;
  #webSocket;
  #socket;

  /** What the client wants done with a WebSocket: see `SocketShim` in boundary.ts. */
  shim = {
    webSocket: () => this.#webSocket,
    listen: (connection, socket, isMade) => {
      if (!isMade) return this.#describe(socket); // that is what was thrown
      try {
        // No event will say so in Chromium.
        if (!this.#webSocket && socket.readyState === CLOSED) return REFUSED;
        this.#socket = socket;
        socket.binaryType = "arraybuffer";
        Object.assign(socket, this.#handlers(connection, socket));
      } catch (error) {
        closeQuietly(socket);
        return this.#describe(error);
      }
    },
    // Some platforms read it only later, when the memory of WebAssembly may have something else. An application's WebSocket
    // may give away the buffer.
    copyOf: (frame) => (this.#webSocket ? frame.slice() : copyOf(frame)),
    closeSocket: closeQuietly,
    // Firefox has closed it by now.
    leave: (token) => this.#socket?.readyState === OPEN || navigator.sendBeacon?.(this.#door, token),
  };

  /** `describe` takes what ended a connection, and its text if that is known; gives the text. */
  constructor(client, { address, webSocket }, describe) {
    this.#client = client;
    this.#webSocket = webSocket;
    // Beside the address of WebSockets, where a page that is left posts the token of its session.
    this.#door = address.replace(/^ws([^?]*?)\/?(\?.*)?$/, "http$1/close");
    this.#describe = describe;
  }

  /** Closes what is left of a client that has failed. */
  close() {
    if (this.#socket) closeQuietly(this.#socket);
  }

  #handlers(connection, { url }) {
    const client = this.#client;
    // Many servers take 8 KiB, with what a request says besides.
    const hint = url?.length > 8000 ? `the address is long: ${url.length} bytes` : "";
    let failure = hint;
    let canPass = true;
    const ended = (event) => {
      const code = read(() => Number(event?.code)) || ABNORMAL;
      const reason = read(() => String(event?.reason ?? ""));
      client.port?.disconnected(connection, code, reason || failure, canPass);
    };
    return guarded({
      onopen: () => {
        failure = "";
        client.port?.opened(connection);
      },
      onmessage: (event) => {
        const frame = frameOf(event);
        if (frame) client.port?.received(connection, frame);
        else client.port?.receivedText(connection);
      },
      onclose: ended,
      // Ends a connection too: Node.js 20 and 22, and WebKit for some ports, send no close event after it.
      onerror: (event) => {
        setTimeout(ended);
        const { code, message } = event?.error ?? {};
        const text = String(message || event?.message || code || "");
        canPass = !HOPELESS.test(`${code} ${text}`);
        if (!text) return;
        failure = this.#describe(event.error, text);
        if (hint) failure += `; ${hint}`;
      },
    });
  }
}

// As in RFC 6455, section 7.1.5, and WebSocket.OPEN and CLOSED.
const ABNORMAL = 1006;
const OPEN = 1;
const CLOSED = 3;

const REFUSED = "the browser refused it at once; its Content Security Policy may want it in connect-src";

/** The code of a certificate that is no good, or an HTTP status that will be the same the next time. */
const HOPELESS = /^\w*(?:CERT|VERIFY)|: [34](?!04|08|25|29)\d\d$/;

/** What came in a binary message; undefined for another one. */
function frameOf(event) {
  return read(() => {
    const data = event?.data;
    // Not by its class: it may be of another realm, as in test environments.
    return typeof data === "object" && data ? new Uint8Array(data) : undefined;
  });
}

/** What `get` returns; undefined if that throws, which is reported. */
function read(get) {
  try {
    return get();
  } catch (error) {
    report(error);
    return undefined;
  }
}
