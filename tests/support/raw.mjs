// A client of bytes: what no WebSocket library and no HTTP library would send.

import { once } from "node:events";
import { connect } from "node:net";
import * as tls from "node:tls";

/**
 * Opens a connection.
 *
 * @param {{ port: number, ca?: string, localAddress?: string } & tls.ConnectionOptions} options with `ca`, over TLS
 */
export async function openRaw({ port, ca, ...more }) {
  const options = { port, host: "127.0.0.1", ...more };
  const socket = ca ? tls.connect({ ...options, ca, servername: "localhost" }) : connect(options);
  let received = Buffer.alloc(0);
  let error;
  socket.on("data", (bytes) => {
    received = Buffer.concat([received, bytes]);
  });
  socket.on("error", (happened) => {
    error = happened;
  });
  const closed = new Promise((resolve) => socket.on("close", () => resolve(received)));
  await Promise.race([once(socket, ca ? "secureConnect" : "connect").catch(() => {}), closed]);
  return {
    socket,
    /** Everything that came until the other end closed the connection. */
    closed,
    received: () => received,
    error: () => error,
    send: (bytes) => socket.write(bytes),
    /** Waits until what has come passes `test`; rejects if the connection is closed first. */
    async until(test) {
      while (!test(received)) {
        if (socket.closed) throw new Error(`closed after ${received.length} bytes${error ? `: ${error.message}` : ""}`);
        await Promise.race([once(socket, "data").catch(() => {}), closed]);
      }
      return received;
    },
    close: () => socket.destroy(),
  };
}

/** A request that asks for a WebSocket; `headers` are lines. */
export const upgrade = (target = "/diffusion?ty=WB&v=25&ca=8&r=0", headers = []) =>
  [
    `GET ${target} HTTP/1.1`,
    "Host: 127.0.0.1",
    "Connection: Upgrade",
    "Upgrade: websocket",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    ...headers,
    "\r\n",
  ].join("\r\n");

/** The status of an answer, or undefined if the connection was closed without one. */
export const statusOf = (bytes) => {
  const status = /^HTTP\/1\.1 (\d+)/.exec(String(bytes.subarray(0, 20)))?.[1];
  return status && Number(status);
};

/** Asks for something, and resolves with the answer's status and text when the connection is closed. */
export async function ask(options, request) {
  const raw = await openRaw(options);
  raw.send(request);
  const bytes = await raw.closed;
  return { status: statusOf(bytes), text: String(bytes), error: raw.error() };
}

/** Asks for a WebSocket and resolves with the status of the answer. */
export async function upgradeStatus(options, target, headers) {
  const raw = await openRaw(options);
  raw.send(upgrade(target, headers));
  await raw.until((bytes) => bytes.includes("\r\n\r\n")).catch(() => {});
  raw.close();
  return statusOf(raw.received());
}

/** Opens a WebSocket with an anonymous session; `frames` gives what has come since, in WebSocket frames. */
export async function openSession(options, target, headers) {
  const raw = await openRaw(options);
  raw.send(upgrade(target, headers));
  const end = (bytes) => bytes.indexOf("\r\n\r\n") + 4;
  await raw.until((bytes) => readFrames(bytes.subarray(end(bytes))).length > 0 && end(bytes) > 3);
  const frames = () => readFrames(raw.received().subarray(end(raw.received())));
  const isClose = ({ opcode }) => opcode === 8;
  return {
    ...raw,
    head: () => String(raw.received().subarray(0, end(raw.received()))),
    frames,
    /** The code of the close frame, when it has come. */
    async closeCode() {
      await raw.until(() => frames().some(isClose)).catch(() => {});
      const close = frames().find(isClose);
      return close && close.payload.length > 1 ? close.payload.readUInt16BE() : undefined;
    },
  };
}

/** The frames that are whole in what a server sent. */
function readFrames(bytes) {
  const frames = [];
  for (let at = 0; at + 2 <= bytes.length; ) {
    const short = bytes[at + 1];
    const size = short < 126 ? 2 : short === 126 ? 4 : 10;
    if (at + size > bytes.length) break;
    const length =
      short < 126 ? short : short === 126 ? bytes.readUInt16BE(at + 2) : Number(bytes.readBigUInt64BE(at + 2));
    if (at + size + length > bytes.length) break;
    frames.push({ opcode: bytes[at] & 15, payload: bytes.subarray(at + size, at + size + length) });
    at += size + length;
  }
  return frames;
}

const MASK = Buffer.from([1, 2, 3, 4]);

/** The frame of a client; `length` is what its head says, whatever there is. */
export function clientFrame(first, payload = Buffer.alloc(0), length = BigInt(payload.length)) {
  const head = [Buffer.of(first)];
  if (length < 126n) head.push(Buffer.of(0x80 | Number(length)));
  else if (length < 0x10000n) head.push(Buffer.of(0xfe, Number(length >> 8n), Number(length & 255n)));
  else {
    const bytes = Buffer.alloc(9, 0xff);
    bytes.writeBigUInt64BE(length, 1);
    head.push(bytes);
  }
  const masked = Buffer.from(payload);
  for (let at = 0; at < masked.length; at++) masked[at] ^= MASK[at & 3];
  return Buffer.concat([...head, MASK, masked]);
}
