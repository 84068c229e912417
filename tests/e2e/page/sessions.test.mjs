// The page as a user meets it: requests to one session, and to every session that matches a filter.

import assert from "node:assert/strict";
import {
  answerPanel,
  answerTo,
  ask,
  askPanel,
  assertFailed,
  connected,
  handlers,
  log,
  pageTest,
  register,
  responses,
  result,
  resultWith,
  sessionId,
} from "./support.mjs";

const copying = (page) => page.getByRole("status", { name: "Copying" });

pageTest("a session ID copied from one tab and pasted into another sends the request to that tab", async (open) => {
  const [answerer, asker] = await Promise.all([open(), open()]);
  await register(answerer, "status", "(request, { addressed }) => ({ addressed, for: request.name })", "session");
  await answerer.getByRole("button", { name: "Copy session ID" }).click();
  await copying(answerer).getByText("Session ID copied").waitFor();
  await ask(asker, "status", { session: "" });
  await askPanel(asker).getByText("Enter a session ID").waitFor();
  await asker.keyboard.press("Control+V"); // into the field with the mistake, which has the focus
  await asker.keyboard.press("Enter");
  const text = await answerTo(asker);
  assert.match(text, /"addressed": true/);
  assert.match(text, /"for": "Ada"/);
  await log(answerer).getByText('Request for status, sent to this session: { "name": "Ada" }').waitFor();
  await handlers(answerer).getByText("1 answered", { exact: true }).waitFor();
});

pageTest("where the clipboard is out of reach, Copy selects the session ID", async (open) => {
  const page = await open();
  await connected(page);
  await page.evaluate(() => {
    navigator.clipboard.writeText = () => Promise.reject(new Error("no permission"));
  });
  await page.getByRole("button", { name: "Copy session ID" }).click();
  await copying(page).getByText("Session ID selected").waitFor();
  assert.equal(await page.evaluate(() => String(getSelection())), await sessionId(page));
});

pageTest("a session whose only handler is for the path refuses what is sent to the session", async (open) => {
  const page = await open(); // which may ask itself
  await register(page, "status");
  await ask(page, "status", { session: await sessionId(page) });
  await assertFailed(page, "UNHANDLED_MESSAGE", "refused", "addressed: true");
  await ask(page, "status", { session: "12-34" });
  await assertFailed(page, "NO_SUCH_SESSION", "refused");
});

pageTest(
  "a request to a filter shows how many sessions match, then a line with the session ID for each response",
  async (open) => {
    const [one, other, asker] = await Promise.all([open(), open(), open()]);
    await register(one, "status", '() => "here"', "session");
    await register(
      other,
      "status",
      '() => new Promise((done) => { globalThis.release = () => done({ room: "lobby" }); })',
      "session",
    );
    const [first, last, asking] = await Promise.all([one, other, asker].map(sessionId));
    const filter = `$SessionId in ['${first}', '${last}', '${asking}']`; // not the tabs of other tests
    await ask(asker, "status", { filter });
    await result(asker).getByText("3 sessions match", { exact: true }).waitFor();
    await result(asker).getByText("2 of 3 responses").waitFor();
    await other.evaluate(() => globalThis.release());
    const lines = await responses(asker, 3);
    assert.match(lines[first], /"here"/);
    assert.match(lines[last], /{ "room": "lobby" }/);
    assert.match(lines[asking], /\(this tab\).*refused.*UNHANDLED_MESSAGE: .*addressed: true/s);

    await ask(asker, "status", { filter: "$Principal is 'nobody'" });
    await result(asker).getByText("No session matches", { exact: true }).waitFor();
  },
);

pageTest("a filter that does not parse shows INVALID_FILTER with what is wrong, marked at its place", async (open) => {
  const page = await open();
  await ask(page, "status", { filter: "room is '😀'\nand name is Bob or x" });
  const text = await resultWith(page, "INVALID_FILTER");
  assert.match(text, /refused/);
  assert.match(text, /Line 2, column 12: a quoted value expected/);
  assert.match(text, /and name is Bob or x/);
  assert.equal(await result(page).locator("mark").innerText(), "Bob");
  await ask(page, "status", { filter: "'😀' is 1" });
  await resultWith(page, "Line 1, column 0");
  await ask(page, "status", { filter: "room is" });
  await resultWith(page, "Line 1, column 7");
  assert.equal(await result(page).locator("mark").innerText(), "", "it ends too early");
});

pageTest("one path can have a handler for the path and one for this session, and either goes alone", async (open) => {
  const page = await open();
  await register(page, "both", '() => "for the path"');
  await register(page, "both", '() => "for the session"', "session");
  const row = (text) => handlers(page).getByRole("listitem").filter({ hasText: text });
  assert.match(await row("sent to the path").innerText(), /^both/);
  assert.match(await row("sent to this session").innerText(), /^both/);
  const session = await sessionId(page);
  await ask(page, "both", { session });
  await resultWith(page, '"for the session"');
  await ask(page, "both");
  await resultWith(page, '"for the path"');

  await page.getByRole("button", { name: "Unregister both, sent to this session" }).click();
  await answerPanel(page).getByText("No longer answering both, sent to this session").waitFor();
  await ask(page, "both", { session });
  await assertFailed(page, "UNHANDLED_MESSAGE", "refused");
  await ask(page, "both");
  await resultWith(page, '"for the path"');
});
