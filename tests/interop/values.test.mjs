// Values of every data type between our client and the official ones, in both directions. What the official clients
// cannot represent (protocol.md 7.1) is sent one way only, or left out with the reason.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { openWorld } from "./support/world.mjs";

const world = await openWorld();
after(world.close);

const bytes = Uint8Array.from({ length: 256 }, (_, index) => index);
const max = 2n ** 63n - 1n;

/** What both official clients read, hold and write as it is. */
const values = {
  json: [
    "",
    "grüße 👋 \u0000",
    true,
    false,
    0,
    -1,
    0.1,
    2 ** 53 - 1,
    [],
    {},
    [[1], { a: { b: [null] } }],
    { "": 1, é: 2 },
  ],
  string: ["", "a", "grüße 👋 \u0000\u001f\u007f", "x".repeat(70_000)],
  int64: [0n, 23n, 24n, -1n, 2n ** 31n, 2n ** 53n + 1n, -(2n ** 53n) - 1n, max, -max],
  double: [0, -0, 0.1, 2, -1.5, 5e-324, 1.7976931348623157e308, 1e21, Infinity, -Infinity, Number.NaN],
  binary: [new Uint8Array(), Uint8Array.of(0), bytes],
};
/** The JavaScript client writes these numbers of json as wrong integers; Python writes them as they are. */
const numbersOfJson = [-0, Number.NaN, Infinity, -Infinity, 1e21, 1e300];
/** Comes back as a bigint; the official JavaScript client reads it as an object that it cannot write in json. */
const bigintsOfJson = [2n ** 53n + 1n, max, -max - 1n];
/** Official Python refuses the smallest int64, to write and to read. */
const smallest = -max - 1n;

const samples = { json: {}, string: "", int64: 0n, double: 0 };

let asker;
let answerer;
const official = new Map();
before(async () => {
  [asker, answerer] = [await world.ours.connect(), await world.ours.connect()];
  for (const peer of [world.js, world.python]) official.set(peer, await peer.connect());
});

for (const peer of [world.js, world.python]) {
  for (const [type, some] of Object.entries(values)) {
    test(`${type} values sent by our client reach ${peer.name} and come back exactly`, async () => {
      await echo(asker, official.get(peer), type, some);
    });
    test(`${type} values sent by ${peer.name} reach our client and come back exactly`, async () => {
      await echo(official.get(peer), answerer, type, some);
    });
  }
}

test("official JavaScript reads every number that our client writes in json", async () => {
  await arrive(asker, official.get(world.js), "json", [...numbersOfJson, ...bigintsOfJson]);
});

for (const peer of [world.js, world.python]) {
  test(`${peer.name} reads a bigint within json as the integer it is, and sends back an integer`, async () => {
    for (const n of [0, 5, -1, 2 ** 32 - 1, 2 ** 40, -(2 ** 40), 2 ** 53 - 1, -(2 ** 53) + 1]) {
      const id = BigInt(n);
      const key = "k".repeat(30);
      const path = `bigints/${peer.name}/${n}`.replaceAll(" ", "-");
      const handler = await official.get(peer).handle(path, "json", { echo: true });
      const sent = { id, at: 1_700_000_000_000, deep: [{ [key]: id }, [id, 1, id]], ids: [id] };
      const expected = { id: n, at: 1_700_000_000_000, deep: [{ [key]: n }, [n, 1, n]], ids: [n] };
      const answer = await asker.sendToPath(path, "json", sent);
      assert.deepEqual((await handler.arrival()).value, expected);
      assert.deepEqual(answer, expected);
    }
  });
}

test("a bigint within json is one at our other client, and back", async () => {
  const values = [0n, 5n, -1n, 2n ** 40n, 2n ** 53n - 1n, 2n ** 60n].map((id) => ({
    id,
    ids: [id, 1_700_000_000_000],
  }));
  await echo(asker, answerer, "json", values);
});

test("every number in json reaches official Python and comes back exactly", async () => {
  await echo(asker, official.get(world.python), "json", [...numbersOfJson, ...bigintsOfJson]);
});

test("every number that official Python writes in json reaches our client and comes back exactly", async () => {
  await echo(official.get(world.python), answerer, "json", [...numbersOfJson, ...bigintsOfJson]);
});

test("the smallest int64 goes there and back between our client and official JavaScript", async () => {
  await echo(asker, official.get(world.js), "int64", [smallest]);
  await echo(official.get(world.js), answerer, "int64", [smallest]);
});

for (const type of ["json", "string", "int64", "double"]) {
  // Official Python answers a null request "Callback threw error", whoever sent it; official JavaScript sends none.
  test(`a null ${type} from our client is null at official JavaScript and comes back`, async () => {
    await echo(asker, official.get(world.js), type, [null]);
  });

  test(`a null ${type} from official Python is null at our client and comes back`, async () => {
    await echo(official.get(world.python), answerer, type, [null]);
  });

  test(`a null ${type} with which official Python answers is null at our client`, async () => {
    await official.get(world.python).handle(`null/${type}`, type, { answer: null });
    assert.equal(await asker.sendToPath(`null/${type}`, type, samples[type]), null);
  });
}

let paths = 0;

/** The receiver has each value as it was sent, answers with it, and the sender gets it back. */
async function echo(sender, receiver, type, values) {
  paths += 1;
  const path = `values/${paths}`;
  const handler = await receiver.handle(path, type, { echo: true });
  for (const value of values) {
    const answer = await sender.sendToPath(path, type, value);
    assert.deepEqual((await handler.arrival()).value, value, "as the receiver has it");
    assert.deepEqual(answer, value, "as it came back");
  }
}

/** The receiver has each value as it was sent. */
async function arrive(sender, receiver, type, values) {
  paths += 1;
  const path = `values/${paths}`;
  const handler = await receiver.handle(path, type, { answer: null });
  for (const value of values) {
    await sender.sendToPath(path, type, value);
    assert.deepEqual((await handler.arrival()).value, value);
  }
}
