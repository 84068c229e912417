// Rules section 6.4: what many logins at a time cost others (V14). The long form is part of `npm run test:load`.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { test } from "node:test";
import { fromRoot } from "../../scripts/lib/paths.mjs";
import { configured, USERS } from "../support/identity.mjs";
import { open } from "./support/client.mjs";

const IS_LONG = process.env.ANTIPHON_LOAD === "long";
const [RATE, TIME] = IS_LONG ? [500, 10_000] : [200, 1000]; // a second; ms

/** The 99th percentile of round trips, one after the other for so long, in ms. */
async function percentile(session, time) {
  const times = [];
  for (const end = performance.now() + time; performance.now() < end; ) times.push(await session.ping());
  times.sort((a, b) => a - b);
  return times[Math.floor(times.length * 0.99)];
}

test("I-2: a flood of wrong passwords hardly slows down open sessions, and who knows theirs gets in", async (t) => {
  // Passwords are checked at a low priority, so it takes long where the machine has other things to do.
  const broker = await configured(t, IS_LONG ? USERS : `${USERS}[limits]\nlogin_timeout = "120s"\n`);
  const session = await open(t, broker, { principal: "root", credentials: "secret" });
  await percentile(session, 300);
  const before = await percentile(session, TIME);
  const flood = spawn(process.execPath, [fromRoot("tests/rules/support/flood.mjs"), broker.port, RATE]);
  t.after(() => flood.kill());
  await broker.logged(/refused: /);
  const during = await percentile(session, TIME);
  const start = performance.now();
  const patience = IS_LONG ? {} : { connectTimeout: 120_000 };
  const other = await open(t, broker, { principal: "ada", credentials: "secret", ...patience });
  const login = performance.now() - start;
  flood.stdin.end();
  const { tried, answered } = JSON.parse((await flood.stdout.toArray()).join(""));
  const seen = { before, during, login, tried, answered };
  if (IS_LONG) t.diagnostic(JSON.stringify(seen));
  assert.equal(other.state, "connected");
  // The machine may have other things to do than this.
  assert.ok(during < (IS_LONG ? 2 * before + 1 : 20 * before + 50), JSON.stringify(seen));
  assert.ok(tried > RATE, JSON.stringify(seen));
});
