// A WebSocket client that is none of a library's: it writes any bytes, and reads or does not.

import { once } from "node:events";
import { connect } from "node:net";
import { readConnectionResponse } from "../../tests/support/wire.mjs";

export const CONTINUATION = 0;
export const BINARY = 2;
export const CLOSE = 8;
export const PING = 9;

/** A frame of a client. The mask is 0, so the payload stands as it is; `declared` is what the head says of its length. */
export function rawFrame(opcode, payload = Buffer.alloc(0), { isLast = true, declared = payload.length } = {}) {
  return Buffer.concat([rawHead(opcode, declared, isLast), payload]);
}

/** The head of such a frame. */
export function rawHead(opcode, length, isLast = true) {
  const first = (isLast ? 0x80 : 0) | opcode;
  if (length <= 125) return Buffer.from([first, 0x80 | length, 0, 0, 0, 0]);
  const head = Buffer.alloc(14);
  head.writeUInt8(first, 0);
  head.writeUInt8(0x80 | 127, 1);
  head.writeBigUInt64BE(BigInt(length), 2);
  return head;
}

/** What the server sends: counts messages, keeps the first and what the close frame says. */
class Incoming {
  #rest = Buffer.alloc(0);
  #skip = 0;
  messages = 0;
  first = Buffer.alloc(0);
  pongs = 0;
  /** What the close frame says. */
  close;

  take(bytes) {
    let input = bytes;
    while (input.length > 0) {
      if (this.#skip > 0) {
        const skipped = Math.min(this.#skip, input.length);
        this.#skip -= skipped;
        input = input.subarray(skipped);
        continue;
      }
      this.#rest = Buffer.concat([this.#rest, input.subarray(0, 1 << 16)]);
      input = input.subarray(Math.min(input.length, 1 << 16));
      while (this.#frame());
    }
  }

  #frame() {
    const rest = this.#rest;
    if (rest.length < 2) return false;
    const short = rest[1] & 0x7f;
    const size = short < 126 ? 2 : short === 126 ? 4 : 10;
    if (rest.length < size) return false;
    const length = short < 126 ? short : short === 126 ? rest.readUInt16BE(2) : Number(rest.readBigUInt64BE(2));
    const opcode = rest[0] & 0x0f;
    const keeps = opcode === CLOSE || this.messages === 0;
    if (keeps && rest.length < size + length) return false;
    const payload = rest.subarray(size, size + length);
    if (opcode === BINARY) {
      if (this.messages === 0) this.first = Buffer.from(payload);
      this.messages += 1;
    } else if (opcode === CLOSE) {
      this.close = { code: length < 2 ? 1005 : payload.readUInt16BE(0), reason: payload.toString("utf8", 2) };
    } else this.pongs += 1;
    this.#skip = Math.max(0, size + length - rest.length);
    this.#rest = rest.subarray(Math.min(rest.length, size + length));
    return this.#skip === 0 && this.#rest.length > 0;
  }
}

/**
 * Opens a session and hands over the socket behind it.
 *
 * @param {{ port: number }} broker
 * @param {{ query?: object, reads?: boolean, localAddress?: string, path?: string }} options without `reads`, nothing is
 *   read behind the connection response
 */
export async function openRaw({ port }, { query = {}, reads = true, localAddress, path = "/diffusion" } = {}) {
  const parameters = new URLSearchParams({ ty: "WB", v: 25, ca: 8, r: 0, ...query });
  const socket = connect({ port, host: "127.0.0.1", localAddress, noDelay: true });
  socket.on("error", () => {}); // its end says enough
  const opened = performance.now();
  const incoming = new Incoming();
  const closed = new Promise((resolve) => socket.once("close", () => resolve(performance.now())));
  await Promise.race([once(socket, "connect").catch(() => {}), closed]);
  socket.write(
    `GET ${path}?${parameters} HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n` +
      "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
  );
  let head = Buffer.alloc(0);
  await new Promise((resolve) => {
    socket.on("data", (bytes) => {
      if (head !== undefined) {
        head = Buffer.concat([head, bytes]);
        const end = head.indexOf("\r\n\r\n");
        if (end < 0) return;
        const rest = head.subarray(end + 4);
        head = undefined;
        incoming.take(rest);
      } else incoming.take(bytes);
      if (incoming.messages > 0) resolve();
    });
    closed.then(resolve);
  });
  if (!reads) socket.pause();
  return {
    socket,
    incoming,
    /** The connection response. */
    ...(incoming.first.length > 2 ? readConnectionResponse(incoming.first) : {}),
    /** When it was opened, and closed, in ms. */
    opened,
    closed,
    /** Writes; resolves when the system has taken it, or the connection is closed. */
    async write(bytes) {
      if (!socket.destroyed && !socket.write(bytes))
        await Promise.race([once(socket, "drain").catch(() => {}), closed]);
    },
    /** Sends a message of the protocol. */
    send(message) {
      return this.write(rawFrame(BINARY, message));
    },
    cut() {
      socket.destroy();
    },
  };
}
