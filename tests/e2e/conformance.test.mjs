// S1: the Autobahn cases of conformance to WebSocket, by kosoku, against the listener of the broker with an echo behind it
// (crates/broker/examples/echo.rs). Here those that take no time; `npm run test:conformance` runs all 301.

import assert from "node:assert/strict";
import { test } from "node:test";
import { conforms } from "../../scripts/conformance.mjs";
import { conformance } from "../../scripts/lib/setup.mjs";

/** Framing, pings, reserved bits, opcodes, fragments, a few texts that are none, closing. */
const QUICK = ["1.*", "2.*", "3.*", "4.*", "5.*", "6.1.*", "6.2.*", "6.3.*", "7.*", "10.*"];

const kosoku = await conformance();

test("S1 V2 the listener passes the quick cases of Autobahn", { skip: !kosoku && "no kosoku" }, async () => {
  const { passed, output } = await conforms(kosoku, QUICK);
  assert.equal(passed, 111, output);
});
