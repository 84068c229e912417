// An address that is too long for the broker: the options of connect travel in it.

import assert from "node:assert/strict";
import { connect as open } from "node:net";
import { text } from "node:stream/consumers";
import { after, test } from "node:test";
import { connect } from "antiphon";
import { WebSocket } from "ws";
import { startBroker } from "../support/broker.mjs";

const broker = await startBroker(["--log", "info"]);
after(() => broker.stop());

/** The first line of what the broker answers to a WebSocket whose query and whose header have so many characters. */
async function statusLine({ query = 0, header = 0 }) {
  const socket = open(broker.port, "127.0.0.1");
  socket.write(
    `GET /diffusion?${"q".repeat(query)} HTTP/1.1\r\nHost: localhost\r\nX-Long: ${"h".repeat(header)}\r\n` +
      "Connection: close\r\n\r\n",
  );
  return (await text(socket)).split("\r\n", 1)[0];
}

test("too long an address is answered 414, too large a head 431, and the log says so", async () => {
  assert.equal(await statusLine({ query: 60_000 }), "HTTP/1.1 400 Bad Request");
  assert.equal(await statusLine({ query: 66_000 }), "HTTP/1.1 414 URI Too Long");
  assert.equal(await statusLine({ header: 200_000 }), "HTTP/1.1 431 Request Header Fields Too Large");
  assert.match(broker.log(), /INFO .*refused: the address or the headers are too long client=127\.0\.0\.1/);
});

test("what the client proposes in too long an address is refused with an error that names the status", async () => {
  const options = { webSocket: WebSocket, log: "off", properties: { note: "n".repeat(66_000) } };
  await assert.rejects(connect(broker.url, options), { code: "CONNECTION_ERROR", message: /414/ });
});
