// The entry of the package: loads the WebAssembly from beside it.

import { nodeModule } from "./host.js";
import { loadFrom } from "./load.js";

export * from "./client.js";

loadFrom((signal) => {
  // Written so that bundlers know it.
  const address = new URL("antiphon_bg.wasm", import.meta.url);
  // Node.js fetches no files. Tests that imitate a page there get this entry.
  const files = address.protocol === "file:" && nodeModule("fs");
  return files ? files.readFileSync(address) : fetch(address, { signal });
}, '; put antiphon_bg.wasm beside the JavaScript, give its address to init, or import "antiphon/inline"');
