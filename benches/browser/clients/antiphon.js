// Antiphon, as its README shows it; a second build of it as well, since what `antiphon` is depends on who bundles this.

import { connect as open } from "antiphon";

/** Instances of the WebAssembly, whose memory is looked at. */
const instances = new Set();
for (const name of ["instantiate", "instantiateStreaming"]) {
  const original = WebAssembly[name];
  WebAssembly[name] = async (...args) => {
    const result = await original.apply(WebAssembly, args);
    instances.add(result.instance ?? result);
    return result;
  };
}

/** Bytes. */
globalThis.wasmMemory = () => {
  let bytes = 0;
  for (const { exports } of instances) {
    for (const value of Object.values(exports)) {
      if (value instanceof WebAssembly.Memory) bytes += value.buffer.byteLength;
    }
  }
  return bytes;
};

/** @param {{ session?: object }} options for the session */
export async function connect(url, { session: options } = {}) {
  const session = await open(url, { requestTimeout: 60_000, ...options });
  const { messaging } = session;
  return {
    handle: (path, answer) => messaging.addRequestHandler(path, answer),
    handleAmongMany: async (path, answer) => messaging.addStreamHandler(path, answer, { addressed: true }),
    request: (path, value) => messaging.sendRequestToPath(path, value),
    // Every session matches; the one that asks has no stream, so that its own response is an error.
    requestMany: async (path, value, count) => {
      const responses = [];
      for await (const { value: response, error } of messaging.gather("all", path, value)) {
        if (!error && responses.push(response) === count) break;
      }
      return responses;
    },
    close: () => session.close(),
  };
}
