// The entry of the package: loads the WebAssembly from beside it.

import { loadFrom } from "./load.js";

export * from "./client.js";

loadFrom(
  // Written so that bundlers know it.
  (signal) => fetch(new URL("antiphon_bg.wasm", import.meta.url), { signal }),
  '; put antiphon_bg.wasm beside the JavaScript, give its address to init, or import "antiphon/inline"',
);
