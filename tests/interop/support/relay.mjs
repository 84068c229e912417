// A relay between a client and the broker that records their messages, since a client does not always show what went
// over the wire.

import { EventEmitter, once } from "node:events";
import { WebSocket, WebSocketServer } from "ws";
import { readFrame } from "../../support/wire.mjs";

/** Headers that are between the ends of one connection. Official Python puts its parameters among the others. */
const OWN_HEADERS = /^(host|connection|upgrade|sec-websocket-.*)$/;

/**
 * Starts a relay in front of `broker`, for one session: `url` is for its client.
 *
 * @param {(message: Buffer) => Buffer} rewrite what becomes of each message on its way to the client
 */
export async function startRelay(broker, rewrite = (message) => message) {
  const server = new WebSocketServer({ host: "127.0.0.1", port: 0 });
  await once(server, "listening");
  const messages = [];
  const events = new EventEmitter();
  server.on("connection", (near, { url, headers }) => {
    const kept = Object.entries(headers).filter(([name]) => !OWN_HEADERS.test(name));
    const far = new WebSocket(new URL(url, broker.url), { headers: Object.fromEntries(kept) });
    // Both sides wait for the connection response before they send, and it is no message.
    far.once("message", (response) => {
      near.send(response);
      pass("client", near, far);
      pass("broker", far, near, rewrite);
    });
  });

  function pass(from, source, destination, change = (message) => message) {
    source.on("message", (bytes) => {
      const message = change(bytes);
      messages.push({ from, ...readFrame(message) });
      destination.send(message);
      events.emit("change");
    });
    source.on("close", () => {
      messages.push({ from, type: "end" });
      destination.close();
      events.emit("change");
    });
  }

  /** What `from` sent so far, as `{ type, service, conversation, body }`, and at its end `{ type: "end" }`. */
  const sent = (from) => messages.filter((message) => message.from === from);
  return {
    url: `ws://127.0.0.1:${server.address().port}/diffusion`,
    fromClient: () => sent("client"),
    fromBroker: () => sent("broker"),
    /** Waits until `condition` holds; looks after every message. */
    async until(condition) {
      while (!condition()) await once(events, "change");
    },
    async stop() {
      for (const client of server.clients) client.terminate();
      server.close();
      await once(server, "close");
    },
  };
}
