// Rollup leaves `new URL("….wasm", import.meta.url)` alone; this plugin copies the file.

import resolve from "@rollup/plugin-node-resolve";
import { importMetaAssets } from "@web/rollup-plugin-import-meta-assets";

export default {
  input: "main.js",
  output: { dir: "dist" },
  plugins: [resolve({ browser: true }), importMetaAssets()],
};
