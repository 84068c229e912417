// The entry `antiphon/inline`, and that of Node.js: one file, with the WebAssembly in it.

import { loadFrom } from "./load.js";
// Made by the build: base64 of what gzip makes of the module.
import packed from "./wasm.js";

export * from "./client.js";

loadFrom(() => {
  const bytes = Uint8Array.from(atob(packed), (character) => character.charCodeAt(0));
  const unpacked = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(unpacked).arrayBuffer();
});
