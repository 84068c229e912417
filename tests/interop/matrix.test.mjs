// Every client asks every client through our broker, by path, by session ID and through a session filter: a response of
// each data type, and every kind of failure. Rules 4.6 says what each cell expects. Ends with a table of all cells.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { refused } from "./support/assert.mjs";
import { table } from "./support/table.mjs";
import { openWorld } from "./support/world.mjs";

const world = await openWorld();
after(world.close);

const crossings = world.peers.flatMap((sender) => world.peers.map((receiver) => [sender, receiver]));

// How a request goes from sender to receiver. A cell has both clients, a session of each, and a path of its own.

const path = {
  name: "by path",
  listen: ({ answerer, path }, type, action) => answerer.handle(path, type, action),
  ask: ({ asker, path }, type, value) => asker.sendToPath(path, type, value),
  /** What the receiver is told besides the value. */
  context: ({ asker, path }) => ({ path, sender: asker.id, properties: {} }),
  /** The receiver's session is gone. */
  absent: (cell) => refused(cell.sender, path.ask(cell, "string", ""), "UNHANDLED_MESSAGE"),
};

const session = {
  name: "by session ID",
  listen: ({ answerer, path }, type, action) => answerer.stream(path, type, action),
  ask: ({ asker, answerer, path }, type, value) => asker.sendToSession(path, answerer.id, type, value),
  context: ({ receiver, path }) => (receiver === world.python ? {} : { path }),
  absent: (cell) => refused(cell.sender, session.ask(cell, "string", ""), "NO_SUCH_SESSION"),
};

const filter = {
  ...session,
  name: "by session filter",
  async ask(cell, type, value) {
    const { count, results } = await sendToFilter(cell, type, value);
    assert.equal(count, 1);
    const [{ session, value: response, error }] = await results();
    assert.equal(session, cell.answerer.id);
    if (error) throw error;
    return response;
  },
  absent: async (cell) => assert.equal((await sendToFilter(cell, "string", "")).count, 0),
};

/** A filter when its sender cannot see a failure. What it sends next, to the session alone, fails too. */
const blind = {
  ...filter,
  async ask(cell, type, value) {
    const counted = sendToFilter(cell, type, value);
    const response = session.ask(cell, type, value);
    response.catch(() => {}); // the count comes first
    assert.equal((await counted).count, 1);
    return response;
  },
};

const sendToFilter = ({ asker, answerer, path }, type, value) =>
  asker.sendToFilter(`$SessionId is '${answerer.id}'`, path, type, value);

const listen = (cell, type, action) => cell.by.listen(cell, type, action);
const ask = (cell, type, value) => cell.by.ask(cell, type, value);
const fails = (cell, value, reason, text) => refused(cell.sender, ask(cell, "string", value), reason, text);

// What an official client cannot do, or does in its own way.

const notes = [
  "Official Python cannot read that a recipient of a filter failed: none of its callbacks runs (protocol.md 8.4).\n" +
    "   What is checked is that it has the count and that its session goes on.",
  "Official Python answers nothing then (protocol.md 8.5). The broker answers for it when the time is up: 102.",
  "Official Python answers 9003, Callback threw error, whatever its request handler throws (protocol.md 8.5).",
  "Official JavaScript takes back a request handler that throws (protocol.md 8.5): 105, and 109 for the next request.",
];
const [unseen, silent, wordless, takenBack] = notes;

// The columns: what the receiver does, and the test of it.

const samples = {
  json: [
    { name: "Ada", numbers: [0, -2.5, 2 ** 53 - 1], nothing: null, yes: true, grüße: "👋" },
    { greeting: "Hello, Ada", list: [{}, [], ""], no: false },
  ],
  string: ["wer da?", "grüß dich 👋"],
  int64: [2n ** 53n + 1n, -1n],
  double: [0.1, -2],
  binary: [Uint8Array.of(0, 255), new Uint8Array()],
};

const answers = Object.entries(samples).map(([type, [question, answer]]) => ({
  name: type,
  does: `answers with ${type}`,
  async check(cell) {
    const handler = await listen(cell, type, { answer });
    assert.deepEqual(await ask(cell, type, question), answer);
    assert.deepEqual(await handler.arrival(), { value: question, ...cell.by.context(cell) });
  },
}));

const reject = {
  name: "reject",
  does: "rejects",
  note: ({ receiver, by }) => receiver === world.python && by === path && wordless,
  async check(cell) {
    await listen(cell, "string", { reject: "not today" });
    const text = cell.note === wordless ? "Callback threw error" : "not today";
    for (const attempt of ["first", "second"]) await fails(cell, attempt, "REJECTED_REQUEST", text);
  },
};

const throws = {
  name: "throw",
  does: "throws",
  note({ receiver, by }) {
    if (receiver === world.js) return by === path && takenBack;
    if (receiver === world.python) return by === path ? wordless : silent;
  },
  async check(cell) {
    const otherwise = new Map([
      [wordless, ["REJECTED_REQUEST", "Callback threw error"]],
      [silent, ["REQUEST_TIME_OUT"]],
    ]);
    const expected = otherwise.get(cell.note) ?? ["CALLBACK_EXCEPTION", "kaputt"];
    await listen(cell, "string", { throw: "kaputt" });
    await fails(cell, "first", ...expected);
    // What it does besides answering comes before its ping.
    await cell.answerer.ping();
    await fails(cell, "second", ...(cell.note === takenBack ? ["UNHANDLED_MESSAGE"] : expected));
  },
};

const noHandler = {
  name: "no handler",
  does: "handles another path only",
  note: ({ receiver, by }) => receiver === world.python && by !== path && silent,
  async check(cell) {
    await listen(cell, "string", { answer: "?" });
    const elsewhere = { ...cell, path: `${cell.path}-or-not` };
    await fails(elsewhere, "", cell.note === silent ? "REQUEST_TIME_OUT" : "UNHANDLED_MESSAGE");
  },
};

const gone = {
  name: "gone",
  does: "ends before it answers",
  async check(shared) {
    const cell = { ...shared, answerer: await shared.receiver.connect() };
    const handler = await listen(cell, "string", { silence: true });
    const ends = async () => {
      await handler.arrival();
      await cell.asker.ping(); // by then everything that it sent has been passed on
      await cell.answerer.close();
    };
    await Promise.all([fails(cell, "", "SESSION_CLOSED"), ends()]);
    await cell.by.absent(cell);
  },
};

const columns = [...answers, reject, throws, noHandler, gone];

// The cells.

const sessions = new Map();
before(async () => {
  for (const peer of world.peers) sessions.set(peer, { asker: await peer.connect(), answerer: await peer.connect() });
});

const rows = [path, session, filter].flatMap((way) =>
  crossings.map(([sender, receiver]) => row(way, sender, receiver)),
);

function row(way, sender, receiver) {
  const cells = columns.map((column) => {
    const by = way === filter && sender === world.python && !answers.includes(column) ? blind : way;
    const cell = {
      by,
      sender,
      receiver,
      column,
      path: `matrix/${way.name}/${sender.key}/${receiver.key}/${column.name}`,
    };
    return { ...cell, note: column.note?.(cell) || undefined, result: "FAILED" };
  });
  return { way, sender, receiver, cells };
}

function define(cell) {
  const { by, sender, receiver, column } = cell;
  const outcome = by === blind ? "goes on" : answers.includes(column) ? "has its answer" : "is told";
  const name = `${sender.name} ${outcome} when ${receiver.name}, asked ${by.name}, ${column.does}`;
  // One that waits in vain must not keep the others from being run.
  test(name, { timeout: 20_000 }, async () => {
    const { asker } = sessions.get(sender);
    const { answerer } = sessions.get(receiver);
    await column.check({ ...cell, asker, answerer });
    const marks = [by === blind && unseen, cell.note].filter(Boolean).map((note) => notes.indexOf(note) + 1);
    cell.result = [by === blind ? [] : "ok", ...marks].flat().join(" ");
  });
}

const cells = rows.flatMap(({ cells }) => cells);
for (const cell of cells.filter(({ note }) => note !== silent)) define(cell);

describe("the broker answers for official Python", { concurrency: true }, () => {
  for (const cell of cells.filter(({ note }) => note === silent)) define(cell);
});

after(() => {
  const lines = [["", ...columns.map(({ name }) => name)]];
  for (const way of [path, session, filter]) {
    lines.push([`asked ${way.name}`, ...columns.map(() => "")]);
    for (const { sender, receiver, cells } of rows.filter((row) => row.way === way)) {
      lines.push([`  ${sender.key} -> ${receiver.key}`, ...cells.map(({ result }) => result)]);
    }
  }
  console.log(table(lines));
  console.log(notes.map((note, index) => `${index + 1}: ${note}`).join("\n"));
});
