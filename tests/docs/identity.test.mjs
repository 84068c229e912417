// The configuration on the page about identity is one.

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { broker, fromRoot } from "../../scripts/lib/paths.mjs";
import { folderWith, Issuer } from "../support/identity.mjs";

test("what docs/identity.md configures will do", (t) => {
  const page = readFileSync(fromRoot("docs/identity.md"), "utf8");
  const blocks = [...page.matchAll(/^```toml\n(.*?)^```/gms)].map(([, block]) => block);
  assert.equal(blocks.length, 2);
  const path = folderWith(t, { "broker.toml": blocks.join(""), "jwks.json": new Issuer().jwks });
  const { status, stderr } = spawnSync(broker, ["check", path("broker.toml")], { encoding: "utf8" });
  assert.equal(status, 0, stderr);
});
