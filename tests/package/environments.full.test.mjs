// The packed package under Vitest and Jest, in each of their environments, without a set-up file: the tests that
// docs/recipes.md shows.

import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { must } from "../../scripts/lib/run.mjs";
import { startBroker } from "../support/broker.mjs";
import { makeApp } from "./support/app.mjs";
import { tool } from "./support/tools.mjs";

let broker;
before(async () => {
  broker = await startBroker();
});
after(() => broker?.stop());

/** Runs a test runner in the folder of an application. Fails if one of its tests does, or if there are none. */
function runTests(app, runner, options, nodeOptions = []) {
  const env = { NO_COLOR: "1", BROKER_URL: broker.url };
  return must(process.execPath, [...nodeOptions, runner.path, ...options], { cwd: app, show: "failure", env });
}

describe("Vitest", async () => {
  const vitest = tool("vitest");
  const app = await makeApp("vitest", { from: ["vitest"] });
  for (const environment of ["node", "jsdom", "happy-dom"]) {
    for (const pool of ["forks", "threads", "vmThreads"]) {
      test(`${environment}, ${pool}`, async (context) => {
        await runTests(app, vitest, ["run", "--environment", environment, "--pool", pool]);
        context.diagnostic(`vitest ${vitest.version} run --environment ${environment} --pool ${pool}`);
      });
    }
  }
});

describe("Jest", async () => {
  const jest = tool("jest");
  const app = await makeApp("jest", { from: ["jest"], type: "commonjs" });
  const modules = await makeApp("jest-modules", { from: ["jest"] });
  const source = readFileSync(join(modules, "greetings.test.js"), "utf8");
  writeFileSync(
    join(modules, "greetings.test.js"),
    source.replace(/^const (.+) = require\((.+)\);$/gm, "import $1 from $2;"),
  );
  // Version 20 of Node.js has a WebSocket behind an option; jsdom has one of its own.
  const webSocket = "WebSocket" in globalThis ? [] : ["--experimental-websocket"];
  for (const environment of ["node", "jsdom"]) {
    test(environment, async (context) => {
      await runTests(app, jest, ["--env", environment], webSocket);
      context.diagnostic(`jest ${jest.version} --env ${environment}`);
    });

    test(`${environment}, with ES modules`, async (context) => {
      await runTests(modules, jest, ["--env", environment], [...webSocket, "--experimental-vm-modules"]);
      context.diagnostic(`node --experimental-vm-modules jest ${jest.version} --env ${environment}`);
    });
  }
});
