// The entry `antiphon/inline`, and that of Node.js: one file, with the WebAssembly in it.

import { nodeModule } from "./host.js";
import { loadFrom } from "./load.js";
// Made by the build: base64 of what gzip makes of the module.
import packed from "./wasm.js";

export * from "./client.js";

loadFrom(() => {
  const bytes = Uint8Array.from(atob(packed), (character) => character.charCodeAt(0));
  const zlib = nodeModule("zlib");
  // First of all, since what imitates a browser there may have half of what the other way needs.
  if (zlib) return zlib.gunzipSync(bytes);
  return new Response(new Response(bytes).body.pipeThrough(new DecompressionStream("gzip"))).arrayBuffer();
});
