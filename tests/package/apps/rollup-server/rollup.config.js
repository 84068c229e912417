// Rollup chooses the entry for Node.js only when it is told that the bundle is for it.

import resolve from "@rollup/plugin-node-resolve";

export default {
  input: "ask.js",
  output: { dir: "dist" },
  plugins: [resolve({ exportConditions: ["node"] })],
};
