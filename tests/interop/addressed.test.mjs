// Requests to a session and to a session filter through our broker, between official JavaScript clients. Ours does not
// send them yet.

import assert from "node:assert/strict";
import { after, test } from "node:test";
import diffusion from "diffusion";
import { startBroker } from "../support/broker.mjs";

const broker = await startBroker(["--request-timeout", "1s"]);
const text = diffusion.datatypes.string();
const sessions = [];
after(async () => {
  for (const session of sessions) await session.closeSession();
  await broker.stop();
});

async function connect(team) {
  const session = await diffusion.connect({
    host: "127.0.0.1",
    port: broker.port,
    secure: false,
    principal: "control",
    credentials: "password",
    properties: { team },
  });
  sessions.push(session);
  return session;
}

/** Answers requests to `path` with who it is and what it got. */
function answer(session, path) {
  const stream = {
    onRequest: (_path, request, responder) => responder.respond(`${session.sessionId} got ${request}`, text),
    onError() {},
    onClose() {},
  };
  session.messages.setRequestStream(path, stream, text, text);
}

/** Sends to a filter; gives the count and, once as many have come, all results by session. */
async function ask(session, filter, path) {
  const results = new Map();
  let settle;
  const all = new Promise((resolve) => {
    settle = resolve;
  });
  let expected = Number.POSITIVE_INFINITY;
  const add = (id, result) => {
    results.set(String(id), result);
    if (results.size === expected) settle();
  };
  const callbacks = { onResponse: add, onResponseError: (id, error) => add(id, error.id) };
  expected = await session.messages.sendRequestToFilter(filter, path, "hello", callbacks, text, text);
  if (results.size < expected) await all;
  return { count: expected, results };
}

const [asker, first, second] = [await connect("x"), await connect("y"), await connect("y")];
for (const session of [first, second]) answer(session, "inbox");

test("a request to a session reaches that session and no other", async () => {
  for (const session of [first, second]) {
    const response = await asker.messages.sendRequest("inbox", "hello", session.sessionId, text, text);
    assert.equal(response, `${session.sessionId} got hello`);
  }
});

test("a session without a stream, and a session that is not there, are told apart", async () => {
  await assert.rejects(asker.messages.sendRequest("nothing", "hello", first.sessionId, text, text), { id: 109 });
  const gone = await connect("z");
  const id = gone.sessionId;
  await gone.closeSession();
  await assert.rejects(asker.messages.sendRequest("inbox", "hello", id, text, text), { id: 107 });
});

test("a filter reaches every session that matches, the sender included, and each yields one result", async () => {
  const { count, results } = await ask(asker, `team is 'y' or $SessionId is '${asker.sessionId}'`, "inbox");
  assert.equal(count, 3);
  const expected = [first, second].map(({ sessionId }) => [String(sessionId), `${sessionId} got hello`]);
  assert.deepEqual(results, new Map([[String(asker.sessionId), 109], ...expected]));
});

test("a filter that matches nobody is a count of zero", async () => {
  assert.equal((await ask(asker, "team is 'nobody'", "inbox")).count, 0);
});

test("a filter that does not parse is rejected with the place", async () => {
  await assert.rejects(ask(asker, "team is y", "inbox"), (reports) => {
    assert.deepEqual(
      reports.map(({ line, column }) => [line, column]),
      [[1, 8]],
    );
    return true;
  });
});

test("a matching session that never answers yields a time-out", async () => {
  const silent = await connect("silent");
  silent.messages.setRequestStream("inbox", { onRequest() {}, onError() {}, onClose() {} }, text, text);
  const { count, results } = await ask(asker, "team is 'silent'", "inbox");
  assert.equal(count, 1);
  assert.deepEqual([...results.values()], [102]);
});
