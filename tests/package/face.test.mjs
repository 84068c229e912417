// What Rust programs use of the client is not in what JavaScript applications download.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { NAMED } from "../../scripts/build.mjs";

test("nothing of the client's face in Rust is in the WebAssembly", () => {
  const names = readFileSync(NAMED, "latin1");
  assert.match(names, /antiphon_protocol::client::/, "functions have their names");
  const faces = /antiphon_client::(?!driver|lock)\w+|\b(futures_(util|channel|core)|minicbor)::\w+/g;
  assert.deepEqual([...new Set(names.match(faces))], []);
});
