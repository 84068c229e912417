// The page as a user meets it: the log, keyboards, small windows, contrast.

import assert from "node:assert/strict";
import { mkdirSync } from "node:fs";
import { fileURLToPath } from "node:url";
import {
  answerPanel,
  answerTo,
  ask,
  askPanel,
  assertContrast,
  connected,
  HANDLER_FAILED,
  handlers,
  log,
  pageTest,
  register,
  result,
  resultWith,
  sessionId,
  sessions,
  turnTo,
} from "./support.mjs";

const MAX_LOG_LINES = 200; // as in www/log.js
const screenshots = fileURLToPath(new URL("../../../build/screenshots/", import.meta.url));

// ---- Log ------------------------------------------------------------------------------------------------------------

pageTest("the log keeps the latest 200 lines, newest first, and Clear empties it", async (open) => {
  const page = await open();
  await connected(page);
  await askPanel(page).getByLabel("Path").fill("flood");
  await askPanel(page).getByLabel("JSON value").fill("1");
  for (let sent = 0; sent < MAX_LOG_LINES / 2; sent += 1) await page.keyboard.press("Control+Enter");
  await ask(page, "flood", { value: '"the last one"' });
  await log(page).getByText('Asked flood: "the last one"').waitFor();
  await result(page).getByText("UNHANDLED_MESSAGE").waitFor();
  assert.equal(await log(page).getByRole("listitem").count(), MAX_LOG_LINES);
  const times = await log(page)
    .locator("time")
    .evaluateAll((all) => all.map((time) => time.dateTime));
  assert.deepEqual(times, times.toSorted().reverse());
  await page.getByRole("button", { name: "Clear log" }).click();
  assert.equal(await log(page).getByRole("listitem").count(), 0);
});

// ---- For everybody --------------------------------------------------------------------------------------------------

pageTest("by keyboard alone everything is reached in reading order, with a visible focus", async (open) => {
  const page = await open();
  await register(page, "greetings");
  await sessions(page).getByText("this tab").waitFor();
  await page.getByRole("link").first().focus();
  await page.keyboard.press("Shift+Tab"); // to before the first
  const reached = [];
  while (reached.length < 50) {
    await page.keyboard.press("Tab");
    const focus = await page.evaluate(() => {
      const at = document.activeElement;
      const { outlineStyle, outlineWidth } = getComputedStyle(at);
      return {
        id: at.id || at.role || at.getAttribute("aria-label") || at.textContent.trim(),
        outline: `${outlineStyle} ${outlineWidth}`,
      };
    });
    if (focus.id === reached[0]) break; // once around
    assert.equal(focus.outline, "solid 3px", focus.id);
    reached.push(focus.id);
  }
  const links = await page.getByRole("navigation").getByRole("link").allInnerTexts();
  const id = await sessionId(page);
  assert.deepEqual(reached, [
    "second-tab",
    ...links,
    "copy-session",
    "Sign in, session properties",
    "answer-path",
    "answer-to",
    "example",
    "answer-function",
    "register",
    "Show as code",
    "Unregister greetings",
    "ask-to",
    "ask-path",
    "ask-timeout",
    "ask-value",
    "Send",
    "Show as code",
    "look",
    "Ask every session where room is 'lobby'",
    `Ask session ${id}`,
    "clear-messages",
    "log",
    "clear-log",
    "log",
  ]);
});

pageTest("by keyboard alone one tab registers and another sends with Ctrl+Enter", async (open) => {
  const [answerer, asker] = await Promise.all([open(), open()]);
  const tabTo = async (page, locator) => {
    await turnTo(page);
    for (let step = 0; step < 50; step += 1) {
      await page.keyboard.press("Tab");
      if (await locator.evaluate((element) => element === document.activeElement)) return;
    }
    assert.fail("Tab does not get there");
  };
  await tabTo(answerer, answerer.getByLabel("Function", { exact: true }));
  await answerer.keyboard.press("Control+Enter");
  await handlers(answerer).getByText("greetings").waitFor();
  await tabTo(asker, asker.getByLabel("JSON value"));
  await asker.keyboard.press("Control+A");
  await asker.keyboard.type('{ "name": "Grace" }');
  await asker.keyboard.press("Control+Enter");
  await resultWith(asker, '"hello": "Grace"');

  await tabTo(answerer, answerer.getByRole("button", { name: "Unregister greetings" }));
  await answerer.keyboard.press("Enter");
  await answerPanel(answerer).getByText("None yet").waitFor();
  const focused = await answerer.evaluate(() => document.activeElement.id);
  assert.equal(focused, "answer-path", "the focus is not lost with the button");
});

pageTest("every field has a label", async (open) => {
  const page = await open();
  const nameless = await page.locator("input, textarea, select, button").evaluateAll((fields) =>
    fields
      .filter((field) => field.localName !== "button" || field.textContent.trim() === "")
      .filter((field) => field.labels.length === 0 && !field.getAttribute("aria-label"))
      .map((field) => field.outerHTML),
  );
  assert.deepEqual(nameless, []);
});

pageTest(
  "at 360 px nothing sticks out to the side, however long it is",
  async (open) => {
    const [answerer, asker] = await Promise.all([open(), open()]);
    const path = `long/${"x".repeat(120)}`;
    await register(
      answerer,
      path,
      `(request) => { if (request.bad) throw new Error("e".repeat(300)); return request; }`,
    );
    await assertFits(answerer);
    await ask(asker, path, { value: JSON.stringify({ [`key${"y".repeat(200)}`]: "z".repeat(2000), list: [1, 2, 3] }) });
    await answerTo(asker);
    await assertFits(asker);
    await ask(asker, path, { value: '{ "bad": true }' });
    await resultWith(asker, "CALLBACK_EXCEPTION");
    await assertFits(asker);
    await ask(asker, path, { filter: "all" });
    await resultWith(asker, "responses");
    await assertFits(asker);
    await ask(asker, path, { filter: `room is ${"x".repeat(200)}` });
    await resultWith(asker, "INVALID_FILTER");
    await assertFits(asker);
    await ask(asker, path, { value: "{" });
    await askPanel(asker)
      .getByText(/not JSON/)
      .waitFor();
    await assertFits(asker);
    await assertFits(answerer);
  },
  { viewport: { width: 360, height: 740 }, expected: HANDLER_FAILED },
);

async function assertFits(page) {
  const [content, window] = await page.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
  assert.ok(content <= window, `${content} px of content in a window of ${window} px`);
}

for (const colorScheme of ["light", "dark"]) {
  for (const width of [360, 1280]) {
    pageTest(
      `in ${colorScheme} mode at ${width} px every text has enough contrast (screenshots kept)`,
      async (open) => {
        mkdirSync(screenshots, { recursive: true });
        const keep = (page, name) =>
          page.screenshot({ path: `${screenshots}${name}-${colorScheme}-${width}.png`, fullPage: true });
        const [answerer, asker] = await Promise.all([open(), open()]);
        await register(answerer, "greetings");
        await register(answerer, "greetings", undefined, "session");
        await ask(asker, "greetings");
        await answerTo(asker);
        await handlers(answerer).getByText("1 answered").waitFor();
        await assertContrast(answerer);
        await assertContrast(asker);
        await keep(answerer, "answerer");
        await keep(asker, "asker");
        await ask(asker, "greetings", { filter: "all" });
        await resultWith(asker, '"hello"');
        await resultWith(asker, "(this tab)");
        await assertContrast(asker);
        await keep(asker, "responses");
        await ask(asker, "greetings", { filter: "room is 'lobby' and name is Bob" });
        await resultWith(asker, "INVALID_FILTER");
        await askPanel(asker).getByLabel("JSON value").fill("{ name: ");
        await askPanel(asker).getByRole("button", { name: "Send" }).click();
        await askPanel(asker)
          .getByText(/not JSON/)
          .waitFor();
        await assertContrast(asker);
        await keep(asker, "mistakes");
      },
      { colorScheme, viewport: { width, height: 900 } },
    );
  }
}
