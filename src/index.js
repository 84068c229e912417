// The entry of the package: loads the WebAssembly from beside it.

import { loadFrom } from "./load.js";

export * from "./client.js";

loadFrom(async (signal) => {
  // Written so that bundlers know it.
  const url = new URL("antiphon_bg.wasm", import.meta.url);
  try {
    return await fetch(url, { signal });
  } catch (cause) {
    throw new Error(`${url} could not be fetched: ${cause.message}`, { cause });
  }
});
