// The packed package in Node.js.

import assert from "node:assert/strict";
import { join } from "node:path";
import { after, test } from "node:test";
import { fromRoot } from "../../scripts/lib/paths.mjs";
import { startBroker } from "../support/broker.mjs";
import { ANSWER, makeApp } from "./support/app.mjs";
import { ask, evaluate } from "./support/node.mjs";

const app = await makeApp("node");
const broker = await startBroker();
after(() => broker.stop());

for (const entry of ["antiphon", "antiphon/inline"]) {
  test(`${entry} can be imported where there is no WebSocket`, async () => {
    const code = `delete globalThis.WebSocket;
      const { connect } = await import("${entry}");
      console.log(typeof connect);`;
    assert.equal(await evaluate(app, code), "function");
  });

  test(`${entry}: connecting without a WebSocket says what to pass`, async () => {
    const code = `delete globalThis.WebSocket;
      const { connect, ConnectError } = await import("${entry}");
      const error = await connect("${broker.url}").catch((error) => error);
      console.log(error instanceof ConnectError, error.code, error.retryable, error.message);`;
    assert.match(
      await evaluate(app, code),
      /^true CONNECTION_ERROR false there is no WebSocket here.+ option webSocket/,
    );
  });
}

test("both entries are the same module there, so an error of one is an error of the other", async () => {
  const code = `import * as one from "antiphon";
    import * as other from "antiphon/inline";
    console.log(one.MessagingError === other.MessagingError, one.connect === other.connect);`;
  assert.equal(await evaluate(app, code), "true true");
});

test("with the WebSocket of the package ws it asks and is answered", async (context) => {
  const said = await ask(join(app, "ask.js"), broker.url);
  assert.equal(said, ANSWER);
  context.diagnostic(`Node.js ${process.version} with ws: ${said}`);
});

test("with the WebSocket of Node.js it asks and is answered", async () => {
  // Version 20 has it as well, behind an option.
  const options = "WebSocket" in globalThis ? [] : ["--experimental-websocket"];
  const code = `import { ask } from "./ask.js"; console.log(await ask("${broker.url}"));`;
  assert.equal(await evaluate(app, code, "module", options), ANSWER);
});

const WHICH = 'const { connect, MessagingError } = require("antiphon"); const inline = require("antiphon/inline");';

test("it can be required, also where Node.js cannot require an ES module", async () => {
  const code = `${WHICH} console.log(typeof connect, typeof MessagingError, connect === inline.connect);`;
  assert.equal(await evaluate(app, code, "commonjs"), "function function true");
});

test("required, it asks and is answered", async () => {
  const code = `${WHICH}
    const { WebSocket } = require(${JSON.stringify(fromRoot("node_modules", "ws"))});
    connect("${broker.url}", { webSocket: WebSocket }).then(async (session) => {
      await session.messaging.addRequestHandler("double", (n) => 2 * n);
      console.log(await session.messaging.sendRequestToPath("double", 21));
      await session.close();
    });`;
  assert.equal(await evaluate(app, code, "commonjs"), "42");
});

const cannot = !process.features.require_module && `Node.js ${process.version} cannot require an ES module`;
test("what is required is what is imported where Node.js can require an ES module", { skip: cannot }, async () => {
  const code = `${WHICH} import("antiphon").then((module) => console.log(module.MessagingError === MessagingError));`;
  assert.equal(await evaluate(app, code, "commonjs"), "true");
});
