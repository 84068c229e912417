// What the clients of the bare relay have in common: requests by number, and a WebSocket that is open.

/** Who waits for a response, by the smallest number that is free. */
export class Slab {
  #waiting = [];
  #free = [];

  add(resolve) {
    const id = this.#free.pop() ?? this.#waiting.length;
    this.#waiting[id] = resolve;
    return id;
  }

  take(id) {
    const resolve = this.#waiting[id];
    this.#waiting[id] = undefined;
    this.#free.push(id);
    return resolve;
  }
}

/** @param {{ role: "handler" | "requester", channel?: string }} options who it is to be on which channel */
export function join(url, { role, channel = "bench" }) {
  return new Promise((resolve, reject) => {
    const socket = new WebSocket(`${url}/${channel}?role=${role}`);
    socket.binaryType = "arraybuffer";
    socket.onopen = () => resolve(socket);
    socket.onerror = () => reject(new Error(`cannot connect to ${url}`));
  });
}
