// `npm start`: builds everything, then runs the broker with the page until it is interrupted. Arguments after `--` go to
// the broker: `npm start -- --listen 127.0.0.1:9000`.

import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { constants } from "node:os";
import { build, buildBroker } from "./build.mjs";
import { assembleSite } from "./lib/files.mjs";
import { broker, fromRoot } from "./lib/paths.mjs";
import { main, say } from "./lib/run.mjs";
import { packed } from "./lib/tarball.mjs";

async function start() {
  if (!existsSync(broker)) say("first build: 2 to 3 minutes on two cores; later ones take seconds");
  await build();
  await buildBroker();
  const args = process.argv.slice(2);
  if (!args.some((arg) => arg.startsWith("--www"))) args.unshift("--www", assembleSite((await packed()).path));
  serve(args);
}

/** Runs the broker; ends as it ends. */
function serve(args) {
  const child = spawn(broker, args, { stdio: ["ignore", "pipe", "inherit"], cwd: process.env.INIT_CWD ?? fromRoot() });
  let announced = false;
  let output = "";
  child.stdout.setEncoding("utf8").on("data", (text) => {
    process.stdout.write(text);
    output += announced ? "" : text;
    const port = /^listening on ws:\/\/\S+:(\d+)\/\S*$/m.exec(output)?.[1];
    if (announced || !port) return;
    announced = true;
    say(`\n  The page:  http://127.0.0.1:${port}/   (open it in two tabs; Ctrl-C ends the broker)\n`);
  });
  for (const signal of ["SIGINT", "SIGTERM"]) process.on(signal, () => child.kill(signal));
  child.on("close", (code, signal) => process.exit(code ?? 128 + constants.signals[signal]));
}

await main(start);
