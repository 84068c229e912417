// The floor with batches: a WebSocket message is a run of numbers, lengths and payloads, and what is sent in one turn of
// the event loop shares one.

import { join, Slab } from "./slab.js";

export const raw = true;

class Batch {
  #bytes = new Uint8Array(1 << 16);
  #length = 0;
  #isScheduled = false;
  #socket;

  constructor(socket) {
    this.#socket = socket;
  }

  add(id, payload) {
    const end = this.#length + 8 + payload.length;
    if (end > this.#bytes.length) {
      const larger = new Uint8Array(end * 2);
      larger.set(this.#bytes.subarray(0, this.#length));
      this.#bytes = larger;
    }
    const view = new DataView(this.#bytes.buffer);
    view.setUint32(this.#length, id, true);
    view.setUint32(this.#length + 4, payload.length, true);
    this.#bytes.set(payload, this.#length + 8);
    this.#length = end;
    if (this.#isScheduled) return;
    this.#isScheduled = true;
    queueMicrotask(() => this.#flush());
  }

  /** What reactions to promises send comes after the first microtask: goes on until one of them adds nothing. */
  #flush() {
    const before = this.#length;
    queueMicrotask(() => {
      if (this.#length !== before) return this.#flush();
      this.#isScheduled = false;
      this.#socket.send(this.#bytes.subarray(0, this.#length));
      this.#length = 0;
    });
  }
}

function forEach(message, visit) {
  const view = new DataView(message);
  for (let start = 0; start < message.byteLength; ) {
    const length = view.getUint32(start + 4, true);
    visit(view.getUint32(start, true), new Uint8Array(message, start + 8, length));
    start += 8 + length;
  }
}

export async function connect(url, options) {
  const socket = await join(url, options);
  const batch = new Batch(socket);
  const close = () => socket.close();
  if (options.role === "handler") {
    const handle = async (_path, answer) => {
      socket.onmessage = ({ data }) => forEach(data, (id, payload) => batch.add(id, answer(payload)));
    };
    return { handle, close };
  }
  const slab = new Slab();
  socket.onmessage = ({ data }) => forEach(data, (id, payload) => slab.take(id)(payload));
  const request = (_path, payload) => new Promise((resolve) => batch.add(slab.add(resolve), payload));
  return { request, close };
}
