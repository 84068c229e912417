// A server that answers each attempt to connect as a script says.

import { EventEmitter, once } from "node:events";
import { WebSocketServer } from "ws";
import { SCRIPTED_ID } from "./endpoint.mjs";
import { ABORT, CLOSE_REQUEST, connectionResponse, frame, RESPONSE, readFrame } from "./wire.mjs";

/** One connection of a client. */
class Attempt {
  #received = [];
  #changed = new EventEmitter();
  /** When it was made, in ms. */
  at = performance.now();

  constructor(socket, query) {
    this.socket = socket;
    /** Parameters of the connection (section 2.2). */
    this.query = query;
    this.closed = once(socket, "close");
    socket.on("error", () => {}); // its end says enough
    socket.on("message", (bytes) => {
      const message = readFrame(bytes);
      if (message.type === CLOSE_REQUEST) {
        this.send({ type: ABORT });
        socket.close();
      }
      this.#received.push(message);
      this.#changed.emit("change");
    });
  }

  /** The next message of the client; waits for it. */
  async next() {
    while (this.#received.length === 0) await once(this.#changed, "change");
    return this.#received.shift();
  }

  /** How many messages are there that nobody has taken yet. */
  get waiting() {
    return this.#received.length;
  }

  send(message) {
    this.socket.send(message instanceof Buffer ? message : frame(message));
  }

  respond({ conversation }, body = Buffer.alloc(0)) {
    this.send({ type: RESPONSE, conversation, body });
  }

  /** Ends the connection without a word. */
  cut() {
    this.socket.terminate();
    return this.closed;
  }
}

/**
 * Starts a server with a script: the connection response to each attempt as its fields (section 3), as its bytes, or
 * `null` for none. The last one holds for all further attempts. `recovery` is that of a 105.
 */
export async function startScript(script) {
  const server = new WebSocketServer({ host: "127.0.0.1", port: 0 });
  await once(server, "listening");
  const attempts = [];
  const changed = new EventEmitter();
  server.on("connection", (socket, { url }) => {
    const query = Object.fromEntries(new URL(url, "ws://server").searchParams);
    const response = script[Math.min(attempts.length, script.length - 1)];
    attempts.push(new Attempt(socket, query));
    if (response instanceof Buffer) socket.send(response);
    else if (response) {
      const { recovery, ...fields } = response;
      const tail = recovery === undefined ? {} : { maxMessageSize: recovery };
      socket.send(connectionResponse({ id: SCRIPTED_ID, ...tail, ...fields }));
    }
    changed.emit("change");
  });
  return {
    url: `ws://127.0.0.1:${server.address().port}/diffusion`,
    attempts,
    /** The attempt with this number, counted from 0; waits for it. */
    async attempt(number) {
      while (attempts.length <= number) await once(changed, "change");
      return attempts[number];
    },
    async stop() {
      for (const client of server.clients) client.terminate();
      server.close();
      await once(server, "close");
    },
  };
}

/** The session token that scripted servers give. */
export const SCRIPTED_TOKEN = "A".repeat(24);
