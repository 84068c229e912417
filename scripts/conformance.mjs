// `npm run test:conformance`: the 301 Autobahn cases of conformance to WebSocket, sections 1 to 11, by kosoku, against the
// listener of the broker with an echo behind it. (12 and 13 are about compression, which the broker does not do.)

import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { echo as echoProgram } from "./lib/crates.mjs";
import { fromRoot } from "./lib/paths.mjs";
import { cargo, Failure, isMain, main, run, say } from "./lib/run.mjs";
import { conformance } from "./lib/setup.mjs";

const ALL = ["1.*", "2.*", "3.*", "4.*", "5.*", "6.*", "7.*", "9.*", "10.*"];

/** Runs the cases whose numbers match `patterns`; throws unless all of them pass. */
export async function conforms(kosoku, patterns) {
  await cargo(...echoProgram);
  const echo = spawn(fromRoot("target", "debug", "examples", "echo"), { stdio: ["ignore", "pipe", "inherit"] });
  const reports = mkdtempSync(join(tmpdir(), "conformance-"));
  try {
    const [address] = await once(echo.stdout, "data");
    const include = patterns.flatMap((pattern) => ["-i", pattern]);
    const url = `ws://${String(address).trim()}/diffusion?ty=WB&v=25&ca=8&r=0`;
    const { status, output } = await run(kosoku, [...include, "-o", reports, url], { show: "nothing" });
    const [, passed] = /^(\d+) cases passed$/m.exec(output) ?? [];
    if (status !== 0 || passed === undefined) throw new Failure(output);
    return { passed: Number(passed), output };
  } finally {
    echo.kill();
    rmSync(reports, { recursive: true });
  }
}

async function conformAll() {
  const kosoku = await conformance();
  if (kosoku === undefined) return;
  const { passed } = await conforms(kosoku, ALL);
  if (passed !== 301) throw new Failure(`${passed} cases passed, where there are 301`);
  say(`${passed} of ${passed} cases passed`);
}

if (isMain(import.meta.url)) await main(conformAll);
