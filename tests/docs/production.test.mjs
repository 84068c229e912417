// Runs what the README and the page of production tell a newcomer to type, as it stands there: the broker's configuration.

import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, dirname, join } from "node:path";
import { test } from "node:test";
import { connect } from "antiphon";
import { WebSocket } from "ws";
import { broker as binary, fromRoot } from "../../scripts/lib/paths.mjs";
import { blocksIn } from "./support/programs.mjs";

// Tests listen on loopback addresses only; the file says all.
const env = {
  ...process.env,
  PATH: `${dirname(binary)}${delimiter}${process.env.PATH}`,
  ANTIPHON_LISTEN: "127.0.0.1:0",
};

for (const page of ["README.md", "docs/production.md"]) {
  test(`a newcomer gets a broker with a user by what ${page} says`, async (t) => {
    const cwd = mkdtempSync(join(tmpdir(), "antiphon-newcomer-"));
    t.after(() => rmSync(cwd, { recursive: true }));
    const block = blocksIn(readFileSync(fromRoot(page), "utf8")).find(({ text }) =>
      text.includes("antiphon-broker init"),
    );
    const lines = block.text.trim().split("\n");
    const said = lines.slice(0, -1).map((line) => execFileSync("sh", ["-c", line], { cwd, env, encoding: "utf8" }));
    const password = /^ {4}(\S+)$/m.exec(said[0])[1];
    const start = /^Start the broker with: (.*)$/m.exec(said[0])[1];
    assert.equal(start, lines.at(-1), "init says the same");

    const broker = spawn("sh", ["-c", `exec ${start}`], { cwd, env, stdio: ["ignore", "pipe", "ignore"] });
    t.after(async () => {
      broker.kill();
      assert.deepEqual(await once(broker, "exit"), [0, null]);
    });
    const [line] = await once(broker.stdout.setEncoding("utf8"), "data");
    const url = /^listening on (\S+)\n$/.exec(line)[1];
    const options = { webSocket: WebSocket, principal: "admin", reconnect: false, log: "off" };
    const session = await connect(url, { ...options, credentials: password });
    await session.messaging.addRequestHandler("ping", () => "pong");
    assert.equal(await session.messaging.sendRequestToPath("ping", null), "pong");
    await session.close();
    await assert.rejects(connect(url, { ...options, credentials: "password" }), { code: "ACCESS_DENIED" });
  });
}
