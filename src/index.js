// The entry of the package: loads the WebAssembly from beside it.

import { loadFrom } from "./load.js";

export * from "./client.js";

// Written so that bundlers know it.
loadFrom((signal) => fetch(new URL("antiphon_bg.wasm", import.meta.url), { signal }));
