// `npm run attack -- [OPTIONS] [NAME...]`: what one client at its worst does to a broker and to a neighbour, in a table; with
// `--floor`, what opening a connection takes beside it whatever the server is. `--help` lists the options.

import { join } from "node:path";
import { target } from "./lib/paths.mjs";
import { cargo, main, run } from "./lib/run.mjs";

async function attack() {
  await cargo("build", "--release", "-p", "antiphon-broker", "-p", "antiphon-load");
  const { status } = await run(join(target, "release", "antiphon-attacks"), process.argv.slice(2));
  process.exitCode = status;
}

await main(attack);
