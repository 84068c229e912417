export default {
  mode: "production",
  target: "node",
  entry: "./ask.js",
  output: { filename: "ask.cjs", library: { type: "commonjs2" } },
};
