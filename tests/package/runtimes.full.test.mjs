// The packed package in the runtimes that docs/compatibility.md names: versions of Node.js, Bun, Deno, and workerd, which
// is what Cloudflare Workers run in.

import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { connect } from "antiphon";
import { WebSocket } from "ws";
import { must } from "../../scripts/lib/run.mjs";
import { folder } from "../../scripts/lib/tarball.mjs";
import { startBroker } from "../support/broker.mjs";
import { ANSWER, makeApp, runTool } from "./support/app.mjs";
import { program, tool } from "./support/tools.mjs";

let broker;
before(async () => {
  broker = await startBroker();
});
after(() => broker?.stop());

/** What it is called, the program, how it runs a module, and whether it has a WebSocket. */
const runtimes = [
  { name: "Node.js 20", file: program("node20", "bin", "node"), hasWebSocket: false },
  { name: "Node.js 22", file: program("node22", "bin", "node") },
  { name: "Node.js 24", file: program("node24", "bin", "node") },
  { name: "Bun", file: program("@oven/bun-linux-x64", "bin", "bun") },
  { name: "Deno", file: program("@deno/linux-x64-glibc", "deno"), args: ["run", "--allow-net", "--allow-env"] },
];

/** Each of these is a call that fails; its error is to name the function around it. */
const CALLS = {
  request: 'await session.messaging.sendRequestToPath("nobody", 1)',
  returned: 'return session.messaging.sendRequestToPath("nobody", 1)',
  registration: 'await session.messaging.addRequestHandler("", () => 1)',
  filter: 'await session.messaging.sendRequestToFilter("no filter", "path", 1)',
  gathering: 'for await (const response of session.messaging.gather("no filter", "path", 1)) use(response)',
  service: "await session.services.MESSAGING_SEND.invoke(1)",
  keys: "await session.getProperties([1])",
  connection: 'await connect("ftp://nowhere")',
};
const functions = Object.entries(CALLS).map(([name, call]) => `async function caller_${name}() { ${call}; }`);
const STACKS = `
  const session = await connect(url, { webSocket });
  ${functions.join("\n  ")}
  for (const call of [${Object.keys(CALLS).map((name) => `caller_${name}`)}]) {
    const { stack } = await call().then(() => ({ stack: "no error" }), (error) => error);
    if (!stack.includes(call.name)) console.log(call.name, stack);
  }
  await session.close();`;

describe("a program", async () => {
  const app = await makeApp("runtimes");
  const write = (name, body) => {
    const imports = `import { connect } from "antiphon";\nimport { ask } from "./ask.js";`;
    const options = `const [url, ws] = process.argv.slice(2);
      const webSocket = ws ? (await import(ws)).WebSocket : undefined;`;
    writeFileSync(join(app, name), `${imports}\nimport process from "node:process";\n${options}\n${body}\n`);
  };
  write("main.js", "console.log(await ask(url, webSocket));");
  write("stacks.js", STACKS);

  for (const { name, file, args = [], hasWebSocket = true } of runtimes) {
    const skip = file ? false : `no ${name}: npm has it for x64 Linux only`;
    const run = async (module) => {
      const ws = hasWebSocket ? [] : [import.meta.resolve("ws")];
      const output = await must(file, [...args, module, broker.url, ...ws], { cwd: app, show: "failure" });
      return output.trim();
    };

    test(`asks and is answered: ${name}`, { skip }, async (context) => {
      assert.equal(await run("main.js"), ANSWER);
      const version = await must(file, ["--version"], { show: "failure" });
      context.diagnostic(`${name}: ${version.split("\n")[0]}`);
    });

    test(`sees its own line in the stack of each error: ${name}`, { skip }, async () => {
      assert.equal(await run("stacks.js"), "");
    });
  }
});

describe("a Worker, bundled as wrangler does", async () => {
  const { Miniflare } = createRequire(join(folder, "package.json"))("miniflare");
  const app = await makeApp("worker", { from: ["worker"] });
  const wasm = readFileSync(join(app, "node_modules", "antiphon", "dist", "antiphon_bg.wasm"));

  /** The response of a Worker whose module is at `path` to a request of `url`. */
  async function respond(context, path, url) {
    const esbuild = tool("esbuild");
    const format = ["--bundle", "--format=esm", "--conditions=workerd,worker,browser"];
    await runTool(app, esbuild, path, ...format, "--external:*.wasm", "--outfile=dist/index.js");
    const miniflare = new Miniflare({
      host: "127.0.0.1",
      port: 0,
      modulesRoot: "/",
      modules: [
        { type: "ESModule", path: "/index.js", contents: readFileSync(join(app, "dist", "index.js"), "utf8") },
        { type: "CompiledWasm", path: "/antiphon_bg.wasm", contents: wasm },
        { type: "CompiledWasm", path: "/antiphon/antiphon.wasm", contents: wasm },
      ],
      compatibilityDate: "2025-11-01",
      bindings: { BROKER_URL: broker.url },
    });
    context.after(() => miniflare.dispose());
    const response = await miniflare.dispatchFetch(url);
    return response.text();
  }

  test("the recipe asks a session outside and is answered", async (context) => {
    const session = await connect(broker.url, { webSocket: WebSocket });
    context.after(() => session.close());
    await session.messaging.addRequestHandler("greetings", (name) => `Hello, ${name}!`);
    const answer = await respond(context, "src/index.js", "http://worker/?name=Ada");
    assert.equal(answer, '"Hello, Ada!"');
  });

  /** What a Worker says that asks with the package from `entry`, after it has done `prepare`. */
  function said(context, entry, prepare = "") {
    const ask = readFileSync(join(app, "ask.js"), "utf8").replace('"antiphon"', JSON.stringify(entry));
    const respondWith = `${prepare} return await ask(BROKER_URL);`;
    const handler = `async (BROKER_URL) => { try { ${respondWith} } catch (error) { return error.message; } }`;
    const worker = `const say = ${handler};
      export default { fetch: async (_, env) => new Response(await say(env.BROKER_URL)) };`;
    writeFileSync(join(app, "worker.js"), `${ask}\n${worker}\n`);
    return respond(context, "worker.js", "http://worker/");
  }

  for (const entry of ["antiphon", "antiphon/inline"]) {
    test(`${entry}: it asks and is answered`, async (context) => {
      assert.equal(await said(context, entry), ANSWER);
    });
  }

  test("the entry for browsers, whose init is given the module: it asks and is answered", async (context) => {
    const prepare = `const { init } = await import("${INSTALLED}index.js");
      const { default: module } = await import("antiphon/antiphon.wasm");
      await init(module);`;
    assert.equal(await said(context, `${INSTALLED}index.js`, prepare), ANSWER);
  });

  test("the file that has the WebAssembly in it says what to do without bytes", async (context) => {
    assert.match(await said(context, `${INSTALLED}inline.js`), /compiles none from bytes: import antiphon/);
  });
});

const INSTALLED = "./node_modules/antiphon/dist/";
