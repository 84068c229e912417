// What the broker says to an operator: on its command line, and in its log.

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { test } from "node:test";
import { connect } from "antiphon";
import { broker as binary } from "../../scripts/lib/paths.mjs";
import { startBroker } from "../support/broker.mjs";
import { open, options } from "./support/client.mjs";

test("a mistyped option and a port in use are told in one line that says what to do", async (t) => {
  const broker = await startBroker(["--listen", "0"]);
  t.after(() => broker.stop());
  const said = (...args) => spawnSync(binary, args, { encoding: "utf8" }).stderr;
  assert.match(said("--lisen", "1"), /^[^\n]*'--lisen'[^\n]*'--listen'[^\n]*\n$/);
  assert.match(said("--listen", `:${broker.port}`), /^[^\n]*another program listens there[^\n]*ss -ltnp[^\n]*\n$/);
});

test("the log says which sessions open and close and which logins are refused, and no credentials", async (t) => {
  const broker = await startBroker();
  t.after(() => broker.stop());
  await assert.rejects(connect(broker.url, { ...options, principal: "control", credentials: "wr0ng" }));
  const session = await open(t, broker, { principal: "control", credentials: "password" });
  await session.close();
  await broker.stop();
  const log = broker.log();
  assert.match(log, /refused: unknown principal or wrong credentials principal="control"/);
  assert.match(log, new RegExp(`session opened session=${session.id}`));
  assert.match(log, new RegExp(`session closed session=${session.id}`));
  assert.ok(!log.includes("wr0ng"));
});
