// The entry for Cloudflare Workers: it imports the WebAssembly as a module, since nothing is compiled from bytes there.

import module from "./antiphon_bg.wasm";
import { loadFrom } from "./load.js";

export * from "./client.js";

loadFrom(() => module);
