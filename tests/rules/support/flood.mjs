// Logs in with wrong passwords, so many times a second, until it is told to stop: `node flood.mjs PORT RATE`. In a process of its
// own, so that its work is not taken for the broker's. Prints how many attempts were answered.

import { connect } from "node:net";

const [port, rate] = process.argv.slice(2).map(Number);
const ADDRESSES = 40; // each may open only so many connections a second
let tried = 0;
let answered = 0;

/** One attempt, without a WebSocket library: all that comes after the answer is the refusal. */
function attempt() {
  tried += 1;
  const localAddress = `127.0.1.${1 + (tried % ADDRESSES)}`;
  const password = Buffer.from(`\u0001\u0008wrong${String(tried % 1000).padStart(3, "0")}`).toString("base64");
  const query = new URLSearchParams({ ty: "WB", v: 25, ca: 8, r: 0, username: `guest${tried}`, password });
  const socket = connect({ port, host: "127.0.0.1", localAddress }, () => {
    socket.write(
      `GET /diffusion?${query} HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n` +
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n",
    );
  });
  socket.on("data", (bytes) => {
    // A frame with a refusal: magic, version, code.
    if (!bytes.includes(Buffer.of(0x82, 0x03, 0x23))) return;
    answered += 1;
    socket.destroy();
  });
  socket.on("error", () => {});
}

const start = performance.now();
const catchUp = () => {
  const due = Math.floor(((performance.now() - start) * rate) / 1000);
  while (tried < due) attempt();
};
const timer = setInterval(catchUp, 10);
process.stdin.resume().on("end", () => {
  catchUp();
  clearInterval(timer);
  process.stdout.write(JSON.stringify({ tried, answered }), () => process.exit());
});
