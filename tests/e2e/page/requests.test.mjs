// The page as a user meets it: requests and answers between two tabs.

import assert from "node:assert/strict";
import {
  answerPanel,
  answerTo,
  ask,
  assertFailed,
  connected,
  HANDLER_FAILED,
  handlers,
  log,
  pageTest,
  register,
  result,
  resultWith,
  sessionId,
  turnTo,
} from "./support.mjs";

pageTest("with nothing but Register in one tab and Send in the other, the answer and its time appear", async (open) => {
  const [answerer, asker] = await Promise.all([open(), open()]);
  await turnTo(answerer);
  await answerer.getByRole("button", { name: "Register", exact: true }).click();
  await handlers(answerer).getByText("greetings").waitFor();
  await turnTo(asker);
  await asker.getByRole("button", { name: "Send" }).click();

  const text = await answerTo(asker);
  assert.match(text, /"hello": "Ada"/);
  assert.match(text, /"at": "\d{4}-\d\d-\d\dT/);
  assert.match(text, /\d ms/);
  await handlers(answerer).getByText("1 answered", { exact: true }).waitFor();
  await log(answerer).getByText('Request for greetings: { "name": "Ada" }').waitFor();
  await log(asker).getByText("Answer from greetings").waitFor();
});

pageTest("the link on top opens a second tab that connects as a session of its own", async (open, context) => {
  const first = await open();
  await connected(first);
  const [second] = await Promise.all([
    context.waitForEvent("page"),
    first.getByRole("link", { name: "Open this page in a second tab" }).click(),
  ]);
  await connected(second);
  const [one, other] = await Promise.all([first, second].map(sessionId));
  assert.match(one, /^[0-9a-f]+-[0-9a-f]+$/);
  assert.match(other, /^[0-9a-f]+-[0-9a-f]+$/);
  assert.notEqual(one, other);
});

pageTest("an async function answers when its promise settles, and the asker sees that it waits", async (open) => {
  const [answerer, asker] = await Promise.all([open(), open()]);
  await register(
    answerer,
    "async",
    "async () => { await new Promise((done) => { globalThis.release = done; }); return 7; }",
  );
  await ask(asker, "async");
  await resultWith(asker, "Waiting for an answer from async");
  await log(answerer).getByText("Request for async").waitFor();
  await answerer.evaluate(() => globalThis.release());
  assert.match(await answerTo(asker), /\b7\b/);
});

pageTest(
  "a handler that throws shows CALLBACK_EXCEPTION, failed, with its message, and goes on answering",
  async (open) => {
    const [answerer, asker] = await Promise.all([open(), open()]);
    await register(answerer, "throws", '(request) => { if (request.bad) throw new Error("on fire"); return "fine"; }');
    await ask(asker, "throws", { value: '{ "bad": true }' });
    await assertFailed(asker, "CALLBACK_EXCEPTION", "failed", "on fire");
    await ask(asker, "throws", { value: "{}" });
    await resultWith(asker, '"fine"');
    await handlers(answerer).getByText("1 answered, 1 failed").waitFor();
  },
  { expected: HANDLER_FAILED },
);

pageTest("a RejectedRequestError shows REJECTED_REQUEST, failed, with its message", async (open) => {
  const [answerer, asker] = await Promise.all([open(), open()]);
  await register(answerer, "rejects", '() => { throw new RejectedRequestError("closed today"); }');
  await ask(asker, "rejects");
  await assertFailed(asker, "REJECTED_REQUEST", "failed", "closed today");
});

pageTest("a path without a handler shows UNHANDLED_MESSAGE, refused", async (open) => {
  const asker = await open();
  await ask(asker, "nobody/home");
  await assertFailed(asker, "UNHANDLED_MESSAGE", "refused");
});

pageTest("after Unregister the path has no handler", async (open) => {
  const [answerer, asker] = await Promise.all([open(), open()]);
  await register(answerer, "leaving");
  await ask(asker, "leaving");
  await answerTo(asker);
  await turnTo(answerer);
  await answerer.getByRole("button", { name: "Unregister leaving" }).click();
  await answerPanel(answerer).getByText("None yet").waitFor();
  await ask(asker, "leaving");
  await assertFailed(asker, "UNHANDLED_MESSAGE", "refused");
});

pageTest("a function registered again for its path replaces the earlier one", async (open) => {
  const [answerer, asker] = await Promise.all([open(), open()]);
  await register(answerer, "versions", '() => "first"');
  await ask(asker, "versions");
  await resultWith(asker, '"first"');
  await turnTo(answerer);
  await answerPanel(answerer).getByLabel("Function", { exact: true }).fill('() => "second";');
  await answerPanel(answerer).getByRole("button", { name: "Replace function" }).click();
  await answerPanel(answerer).getByText("New function for versions").waitFor();
  await ask(asker, "versions");
  await resultWith(asker, '"second"');
  assert.equal(await handlers(answerer).getByRole("listitem").count(), 1);
});

pageTest("a request without an answer shows TIMED_OUT, unknown, and not before its time", async (open) => {
  const [answerer, asker] = await Promise.all([open(), open()]);
  await register(answerer, "silence", "() => new Promise(() => {})");
  await ask(asker, "silence", { timeout: "250" });
  await assertFailed(asker, "TIMED_OUT", "unknown");
  const shown = Number.parseFloat(await result(asker).locator(".time").innerText());
  assert.ok(shown >= 250, `${shown} ms`);
});

pageTest("a handler that stops when the sender gives up is told so at once, and nothing failed", async (open) => {
  const [answerer, asker] = await Promise.all([open(), open()]);
  await answerPanel(answerer).getByLabel("Example function").selectOption("Stop if the sender gives up");
  await register(answerer, "long/work");
  await ask(asker, "long/work", { timeout: "250" });
  await assertFailed(asker, "TIMED_OUT", "unknown");
  await log(answerer).getByText("Stopped answering long/work: ").waitFor();
  assert.doesNotMatch(await handlers(answerer).innerText(), /failed/);
});

pageTest("bigint, bytes and NaN in an answer are shown", async (open) => {
  const [answerer, asker] = await Promise.all([open(), open()]);
  await register(
    answerer,
    "exotic",
    "() => ({ big: 9007199254740993n, bytes: new Uint8Array([1, 2, 255]), nan: NaN })",
  );
  await ask(asker, "exotic");
  const text = await resultWith(asker, "9007199254740993n");
  assert.match(text, /Uint8Array\(3\) <01 02 ff>/);
  assert.match(text, /"nan": NaN/);
});

pageTest("a request of each JSON type arrives as what it was", async (open) => {
  const [answerer, asker] = await Promise.all([open(), open()]);
  await register(
    answerer,
    "types",
    "(request) => [request === null ? 'null' : typeof request, Array.isArray(request)]",
  );
  const expected = [
    ["null", '["null", false]'],
    ["true", '["boolean", false]'],
    ["1.5", '["number", false]'],
    ['"text"', '["string", false]'],
    ["[1, 2]", '["object", true]'],
    ['{ "a": 1 }', '["object", false]'],
  ];
  for (const [value, answer] of expected) {
    await ask(asker, "types", { value });
    await log(asker).getByText(answer).first().waitFor();
    await resultWith(asker, answer);
    await asker.getByRole("button", { name: "Clear log" }).click();
  }
});

pageTest(
  "markup in paths, answers and errors stays text",
  async (open) => {
    const [answerer, asker] = await Promise.all([open(), open()]);
    const markup = '<img src="x" onerror="globalThis.hacked = true">';
    await register(
      answerer,
      "markup",
      `(request) => { if (request.bad) throw new Error('${markup}'); return '${markup}'; }`,
    );
    await ask(asker, "markup", { value: "{}" });
    await resultWith(asker, "<img");
    await ask(asker, "markup", { value: '{ "bad": 1 }' });
    await resultWith(asker, "CALLBACK_EXCEPTION");
    await ask(asker, markup, { filter: "all" });
    await resultWith(asker, "at exactly <img");
    await ask(asker, "markup", { filter: markup });
    await resultWith(asker, "Line 1, column 5");
    for (const page of [answerer, asker]) {
      assert.equal(await page.locator("img").count(), 0);
      assert.equal(await page.evaluate(() => globalThis.hacked), undefined);
    }
  },
  { expected: HANDLER_FAILED },
);
