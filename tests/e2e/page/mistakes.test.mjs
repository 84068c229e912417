// The page as a user meets it: mistakes in the fields.

import assert from "node:assert/strict";
import { answerPanel, ask, askPanel, connected, handlers, log, pageTest } from "./support.mjs";

pageTest("text that is not JSON is refused beside its field, and nothing is sent", async (open, context) => {
  let frames = 0;
  context.on("page", (page) =>
    page.on("websocket", (socket) => {
      socket.on("framesent", () => {
        frames += 1;
      });
    }),
  );
  const page = await open();
  const askAndCount = async (times) => {
    const earlier = frames;
    await ask(page, "anything", { value: "null" });
    await log(page)
      .getByText("No answer from anything")
      .nth(times - 1)
      .waitFor();
    return frames - earlier;
  };
  await askAndCount(1);
  const usual = await askAndCount(2);
  assert.ok(usual > 0, "sent frames are seen");

  const later = frames;
  await ask(page, "anything", { value: "{ name: " });
  await askPanel(page)
    .getByText(/^This is not JSON: ./)
    .waitFor();
  const field = askPanel(page).getByLabel("JSON value");
  assert.equal(await field.getAttribute("aria-invalid"), "true");
  assert.ok(await field.evaluate((element) => element === document.activeElement), "the field has the focus");

  await askAndCount(3); // what had been sent before would be seen by now
  assert.equal(frames - later, usual);
  assert.equal(await log(page).getByText("Asked anything").count(), 3);
  assert.equal(
    await askPanel(page)
      .getByText(/not JSON/)
      .count(),
    0,
  );
});

pageTest("a function text that does not compile, or is no function, is refused beside its field", async (open) => {
  const page = await open();
  await connected(page);
  const field = answerPanel(page).getByLabel("Function", { exact: true });
  const button = answerPanel(page).getByRole("button", { name: "Register", exact: true });
  await field.fill("(request) => {");
  await button.click();
  await answerPanel(page)
    .getByText(/^This does not compile: ./)
    .waitFor();
  await field.fill("40 + 2");
  await button.click();
  await answerPanel(page).getByText("This is not a function but 42").waitFor();
  assert.equal(await handlers(page).count(), 0);
  await field.fill("() => 42");
  assert.equal(await answerPanel(page).getByText(/^This/).count(), 0, "a correction takes the complaint away");
});

pageTest("an empty filter, an empty path and a timeout of nothing are refused beside their fields", async (open) => {
  const page = await open();
  await connected(page);
  await ask(page, " ", { filter: " ", timeout: "0" });
  await askPanel(page).getByText("Enter a session filter").waitFor();
  await askPanel(page).getByText("Enter the path to ask").waitFor();
  await askPanel(page).getByText("Enter a number of milliseconds above 0").waitFor();
  assert.equal(await log(page).getByText("Asked").count(), 0);
  await ask(page, " ");
  const focused = await page.evaluate(() => document.activeElement.id);
  assert.equal(focused, "ask-path", "a problem in a field that is gone is not in the way");
});
