// Node.js applications, each in its own process, against a broker.

import { pathToFileURL } from "node:url";
import { must } from "../../../scripts/lib/run.mjs";

/** Runs `code` as a module in `folder`. Gives what it printed. */
export async function evaluate(folder, code, type = "module", options = []) {
  const args = [...options, `--input-type=${type}`, "--eval", code];
  const output = await must(process.execPath, args, { cwd: folder, show: "failure", env: { NODE_NO_WARNINGS: "1" } });
  return output.trim();
}

/** Has the module at `path` ask, with a WebSocket of the package ws. Gives what it returned. */
export function ask(path, brokerUrl) {
  const [bundle, ws] = [pathToFileURL(path).href, import.meta.resolve("ws")].map((url) => JSON.stringify(url));
  return evaluate(
    ".",
    `import { WebSocket } from ${ws};
     const { ask } = await import(${bundle}).then((module) => (module.ask ? module : module.default));
     console.log(await ask(${JSON.stringify(brokerUrl)}, WebSocket));`,
  );
}
