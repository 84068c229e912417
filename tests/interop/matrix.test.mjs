// Every client asks every client through our broker: an answer of each kind, and every way to give none. What a cell
// expects is semantics.md 4.6. Ends with a table of all cells.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { refused } from "./support/assert.mjs";
import { openWorld } from "./support/world.mjs";

const world = await openWorld();
after(world.close);

const question = { name: "Ada", numbers: [0, -2.5, 2 ** 53 - 1], nothing: null, yes: true, grüße: "👋" };
const answer = { greeting: "Hello, Ada", list: [{}, [], ""], no: false };

/** What the sender sees when the handler throws, and when it rejects: the Python client says one thing for both. */
const thrown = {
  ours: ["CALLBACK_EXCEPTION", "kaputt"],
  js: ["CALLBACK_EXCEPTION", "kaputt"],
  python: ["REJECTED_REQUEST", "Callback threw error"],
};
const rejected = {
  ours: ["REJECTED_REQUEST", "not today"],
  js: ["REJECTED_REQUEST", "not today"],
  python: ["REJECTED_REQUEST", "Callback threw error"],
};

/** The columns: what happens, in a sentence about sender and receiver, and the test of it. */
const columns = {
  json: {
    sentence: (sender, receiver) => `${sender} asks ${receiver} with json and gets its answer`,
    async check(cell) {
      const handler = await cell.handle("json", { answer });
      assert.deepEqual(await cell.ask("json", question), answer);
      await arrived(handler, cell, question);
    },
  },
  string: {
    sentence: (sender, receiver) => `${sender} asks ${receiver} with a string and gets its answer`,
    async check(cell) {
      const handler = await cell.handle("string", { answer: "grüß dich 👋" });
      assert.equal(await cell.ask("string", "wer da?"), "grüß dich 👋");
      await arrived(handler, cell, "wer da?");
    },
  },
  reject: {
    sentence: (sender, receiver) => `${sender} is told when ${receiver} rejects, and can ask again`,
    async check(cell) {
      await cell.handle("string", { reject: "not today" });
      for (const attempt of ["first", "second"]) {
        await refused(cell.sender, cell.ask("string", attempt), ...rejected[cell.receiver.key]);
      }
    },
  },
  throw: {
    sentence: (sender, receiver) => `${sender} is told when the handler of ${receiver} throws`,
    async check(cell) {
      await cell.handle("string", { throw: "kaputt" });
      await refused(cell.sender, cell.ask("string", "first"), ...thrown[cell.receiver.key]);
      // The official JavaScript client takes such a handler back (protocol.md 8.5). Its messages arrive in order.
      await cell.answerer.ping();
      const next = cell.receiver.key === "js" ? ["UNHANDLED_MESSAGE"] : thrown[cell.receiver.key];
      await refused(cell.sender, cell.ask("string", "second"), ...next);
    },
  },
  "no handler": {
    sentence: (sender, receiver) => `${sender} is told at once when ${receiver} handles another path only`,
    async check(cell) {
      await cell.handle("string", { answer: "?" });
      await refused(cell.sender, cell.asker.send(`${cell.path}-or-not`, "string", ""), "UNHANDLED_MESSAGE");
    },
  },
  "handler closed": {
    cannot: { python: "the Python client has no way to take a handler back" },
    sentence: (sender, receiver) => `${sender} is told at once when ${receiver} has closed its handler`,
    async check(cell) {
      const handler = await cell.handle("string", { answer: "still here" });
      assert.equal(await cell.ask("string", "there?"), "still here");
      await handler.close();
      await refused(cell.sender, cell.ask("string", "there?"), "UNHANDLED_MESSAGE");
    },
  },
};

/** Rows of the table. */
const results = [];
const sessions = new Map();

before(async () => {
  for (const peer of world.peers) sessions.set(peer, { asker: await peer.connect(), answerer: await peer.connect() });
});

for (const sender of world.peers) {
  for (const receiver of world.peers) {
    for (const [name, { sentence, check, cannot }] of Object.entries(columns)) {
      const row = { cell: `${sender.key}->${receiver.key} ${name}`, result: "FAILED" };
      results.push(row);
      const reason = cannot?.[receiver.key];
      if (reason) {
        row.result = `cannot be done: ${reason}`;
        continue;
      }
      test(sentence(sender.name, receiver.name), async () => {
        const { asker } = sessions.get(sender);
        const { answerer } = sessions.get(receiver);
        const path = `matrix/${sender.key}/${receiver.key}/${name}`;
        await check({
          sender,
          receiver,
          asker,
          answerer,
          path,
          ask: (type, value) => asker.send(path, type, value),
          handle: (type, action) => answerer.handle(path, type, action),
        });
        row.result = "ok";
      });
    }
  }
}

/** The handler was given what the sender sent, and who it was. */
async function arrived(handler, { asker, path }, value) {
  assert.deepEqual(await handler.arrival(), { value, path, sender: asker.id, properties: {} });
}

after(() => console.log(results.map(({ cell, result }) => `${cell}: ${result}`).join("\n")));
