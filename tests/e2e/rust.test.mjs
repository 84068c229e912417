// A page in Rust and a native program of the same code (examples/yew), each with a page in JavaScript: both directions.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { after, test } from "node:test";
import { example, examplePage } from "../../scripts/lib/crates.mjs";
import { filesBelow } from "../../scripts/lib/files.mjs";
import { fromRoot, target, wasmBindgen } from "../../scripts/lib/paths.mjs";
import { cargo, must } from "../../scripts/lib/run.mjs";
import { startBroker } from "../support/broker.mjs";
import { launchBrowser } from "../support/browser.mjs";
import { assemblePages } from "../support/pages.mjs";

const WASM = "wasm32-unknown-unknown";
const EXAMPLE = "antiphon-example";
const head = '<!doctype html>\n<meta charset="utf-8">\n<link rel="icon" href="data:,">\n';

await cargo(...example);
await cargo(...examplePage);
const generated = fromRoot("build", "rust-page");
const module = join(target, WASM, "debug", `${EXAMPLE}.wasm`);
await must(wasmBindgen, ["--target", "web", "--no-typescript", "--out-dir", generated, module], { show: "failure" });
const files = filesBelow(generated).map((path) => [join("rust", path), readFileSync(join(generated, path))]);
const folder = assemblePages("rust", {
  "index.html": head,
  "rust.html": `${head}<script type="module">import start from "./rust/${EXAMPLE}.js"; start();</script>\n`,
  ...Object.fromEntries(files),
});
const broker = await startBroker(["--www", folder]);
const browser = await launchBrowser();
after(async () => {
  await browser.close();
  await broker.stop();
});

/** A page in JavaScript that answers greetings; `greet` greets the session in Rust. */
async function javascriptPage() {
  const page = await browser.newPage();
  await page.goto(broker.httpUrl);
  await page.evaluate(async () => {
    const { connect } = await import("/antiphon/index.js");
    globalThis.session = await connect(location.origin);
    await session.messaging.addRequestHandler("greetings/javascript", (name) => `hello ${name}, this is JavaScript`);
  });
  const greet = () => page.evaluate(() => session.messaging.sendRequestToPath("greetings/rust", "a tab"));
  return { greet, close: () => page.close() };
}

test("a page in Rust asks a tab in JavaScript, and answers it", async () => {
  const javascript = await javascriptPage();
  const page = await browser.newPage();
  await page.goto(`${broker.httpUrl}rust.html`);
  await page.getByRole("button", { name: "Greet" }).click();
  await page.getByText("hello a page, this is JavaScript").waitFor();
  assert.equal(await javascript.greet(), "hello a tab, this is Rust");
  await page.close();
  await javascript.close();
});

test("the same code as a native program asks a tab in JavaScript, and answers it", async () => {
  const javascript = await javascriptPage();
  const program = spawn(join(target, "debug", EXAMPLE), [broker.url], { stdio: ["ignore", "pipe", "inherit"] });
  const ended = once(program, "close");
  try {
    const [said] = await Promise.race([once(program.stdout, "data"), ended]);
    assert.equal(String(said), "hello a program, this is JavaScript\n");
    assert.equal(await javascript.greet(), "hello a tab, this is Rust");
  } finally {
    program.kill();
    await ended;
    await javascript.close();
  }
});
