// The page as a user meets it: who connects, the sessions to pick from, the messages as they pass, forms as code, and
// the documentation.

import assert from "node:assert/strict";
import { connect } from "antiphon";
import { WebSocket } from "ws";
import {
  answerPanel,
  answerTo,
  ask,
  askPanel,
  broker,
  connected,
  connection,
  handlers,
  messages,
  pageTest,
  register,
  responses,
  result,
  resultWith,
  sessionId,
  sessions,
  turnTo,
} from "./support.mjs";

const loginForm = (page) => page.getByRole("form", { name: "Sign in" });

async function signIn(page, { principal = "", password = "", properties }) {
  await page.bringToFront();
  if (!(await loginForm(page).isVisible())) await page.getByText("Sign in, session properties").click();
  await loginForm(page).getByLabel("Principal").fill(principal);
  await loginForm(page).getByLabel("Password").fill(password);
  await loginForm(page).getByLabel("Session properties").fill(properties);
  await loginForm(page).getByRole("button", { name: "Sign in" }).click();
}

// ---- Who connects ---------------------------------------------------------------------------------------------------

pageTest("whoever signs in is that principal, with these properties, and the handlers come along", async (open) => {
  const [answerer, asker] = await Promise.all([open(), open()]);
  await register(answerer, "cook", '() => "on its way"', "session");
  const earlier = await sessionId(answerer);
  await signIn(answerer, { principal: "control", password: "password", properties: "room = kitchen\nstation = 7 = 8" });
  await answerer.locator("#principal").getByText("control").waitFor();
  assert.notEqual(await sessionId(answerer), earlier);
  assert.equal(await handlers(answerer).getByText("not registered now").count(), 0);
  await ask(asker, "cook", { filter: "room is 'kitchen' and station is '7 = 8' and $Principal is 'control'" });
  assert.match((await responses(asker, 1))[await sessionId(answerer)], /"on its way"/);
});

pageTest("a wrong password opens the form to try again", async (open) => {
  const page = await open();
  await connected(page);
  await signIn(page, { principal: "control", password: "wr0ng", properties: "" });
  await connection(page).getByText("ACCESS_DENIED").waitFor();
  assert.ok(await loginForm(page).isVisible());
  await signIn(page, { principal: "control", password: "password", properties: "" });
  await connected(page);
  assert.equal(await page.locator("#principal").innerText(), "control");
});

pageTest("a line that is no property is refused beside the field, and the session stays", async (open) => {
  const page = await open();
  const id = await sessionId(page);
  await signIn(page, { properties: "room lobby" });
  await loginForm(page).getByText('not "room lobby"').waitFor();
  assert.equal(await page.evaluate(() => document.activeElement.id), "login-properties");
  assert.equal(await sessionId(page), id);
});

// ---- Whom to ask ----------------------------------------------------------------------------------------------------

pageTest(
  "the list of sessions shows this tab, other tabs and other programs, and fills in whom to ask",
  async (open) => {
    const program = await connect(broker.url, { webSocket: WebSocket });
    program.messaging.addStreamHandler("greetings", () => "from a program", { addressed: true });
    const [other, page] = await Promise.all([open(), open()]);
    await register(other, "greetings", '() => "from the other tab"', "session");
    const [own, others] = await Promise.all([page, other].map(sessionId));
    await turnTo(page);
    await page.getByRole("button", { name: "Look again" }).click();
    const row = (id) => sessions(page).getByRole("listitem").filter({ hasText: id });
    await row(own).getByText("this tab").waitFor();
    await row(others).getByText("answers greetings").waitFor();
    await row(program.id).getByText("another program").waitFor();

    for (const [id, answer] of [
      [program.id, "from a program"],
      [others, "from the other tab"],
    ]) {
      await row(id).getByRole("button", { name: "Ask session" }).click();
      assert.equal(await askPanel(page).getByLabel("Session ID").inputValue(), id);
      await askPanel(page).getByRole("button", { name: "Send" }).click();
      await resultWith(page, answer);
    }
    await row(own).getByRole("button", { name: "room is 'lobby'" }).click();
    assert.equal(await askPanel(page).getByLabel("Session filter").inputValue(), "room is 'lobby'");
    await askPanel(page).getByRole("button", { name: "Send" }).click();
    await resultWith(page, "from the other tab");
    await program.close();
  },
);

pageTest("what is nobody's fault is not red", async (open) => {
  const page = await open();
  const assertNothingRed = async () => {
    const red = await page.evaluate(() => {
      const probe = Object.assign(document.createElement("i"), { style: "color: var(--bad)" });
      const bad = getComputedStyle(document.body.appendChild(probe)).color;
      probe.remove();
      const all = Array.from(document.querySelectorAll("body *"));
      const shown = all.filter((element) => element.checkVisibility() && element.textContent.trim() !== "");
      return shown.filter((element) => getComputedStyle(element).color === bad).map((element) => element.textContent);
    });
    assert.deepEqual(red, []);
  };
  await register(page, "closed", '() => { throw new RejectedRequestError("we are closed"); }');
  await ask(page, "closed");
  await resultWith(page, "REJECTED_REQUEST");
  await assertNothingRed();
  await ask(page, "nobody/home");
  await resultWith(page, "UNHANDLED_MESSAGE");
  await ask(page, "nobody/home", { session: await sessionId(page) });
  await resultWith(page, "UNHANDLED_MESSAGE");
  await ask(page, "nobody/home", { filter: "all" });
  await result(page).getByText("(this tab)").waitFor();
  await signIn(page, { principal: "control", password: "password", properties: "" });
  await page.locator("#principal").getByText("control").waitFor();
  await assertNothingRed();
});

// ---- What passes ----------------------------------------------------------------------------------------------------

pageTest("messages are shown as they pass, without the page's own looks at the sessions", async (open) => {
  const [answerer, asker] = await Promise.all([open(), open()]);
  await register(answerer, "seen", "(request) => request.name");
  await ask(asker, "seen");
  await answerTo(asker);
  await messages(asker).getByText('request seen { "name": "Ada" }').waitFor();
  await messages(asker).getByText('response seen "Ada"').waitFor();
  await messages(answerer).getByText("request seen {").waitFor();
  for (const page of [answerer, asker]) {
    await turnTo(page);
    await page.getByRole("button", { name: "Look again" }).click();
    await sessions(page).getByText("answers seen").first().waitFor();
    const lines = await messages(page).getByRole("listitem").allInnerTexts();
    assert.deepEqual(
      lines.filter((line) => /presence|PROPERTIES|FILTER/.test(line)),
      [],
    );
  }
  await asker.getByRole("button", { name: "Clear messages" }).click();
  assert.equal(await messages(asker).getByRole("listitem").count(), 0);
});

// ---- As code --------------------------------------------------------------------------------------------------------

/** Runs a program in the page as a module; gives what it writes to the console. */
function run(page, program) {
  return page.evaluate(async (text) => {
    const { log } = console;
    const lines = [];
    console.log = (...values) => lines.push(values.map((value) => JSON.stringify(value)).join(" "));
    const url = URL.createObjectURL(new Blob([text], { type: "text/javascript" }));
    try {
      await import(url);
    } finally {
      console.log = log;
    }
    return lines;
  }, program);
}

async function codeOf(panel) {
  const text = panel.locator("details pre");
  if (!(await text.isVisible())) await panel.getByText("Show as code").click();
  await text.getByText("messaging").waitFor(); // the page is told of the opening later
  return text.innerText();
}

pageTest("the programs that the page shows do what its forms do", async (open) => {
  const page = await open();
  await connected(page);
  const program = async (panel) => run(page, await codeOf(panel));
  const path = answerPanel(page).getByLabel("Path");
  await path.fill("as/code");
  await answerPanel(page).getByLabel("Function", { exact: true }).fill("(request) => ({ hello: request.name });");
  assert.deepEqual(await program(answerPanel(page)), []);
  await askPanel(page).getByLabel("Path").fill("as/code");
  await askPanel(page).getByLabel("Timeout in ms").fill("5000");
  assert.deepEqual(await program(askPanel(page)), ['{"hello":"Ada"}']);

  await answerPanel(page).getByLabel("Sent to").selectOption("this session");
  await path.fill("as/stream");
  await answerPanel(page)
    .getByLabel("Function", { exact: true })
    .fill('() => { throw new RejectedRequestError("not today"); }');
  await askPanel(page).getByLabel("Path").fill("as/stream");
  await signIn(page, { properties: "kind = code" });
  assert.deepEqual(await program(answerPanel(page)), []);
  await askPanel(page).getByLabel("To", { exact: true }).selectOption("all sessions matching a filter");
  await askPanel(page).getByLabel("Session filter").fill("kind is 'code'");
  const lines = await program(askPanel(page));
  assert.ok(
    lines.some((line) => line.includes("REJECTED_REQUEST")),
    lines.join("\n"),
  );
  await askPanel(page).getByLabel("To", { exact: true }).selectOption("one session");
  await askPanel(page)
    .getByLabel("Session ID")
    .fill(JSON.parse(lines.find((line) => line.includes("REJECTED_REQUEST")).split(" ")[0]));
  await assert.rejects(program(askPanel(page)), /not today/);
});

pageTest("no program has a password in it", async (open) => {
  const page = await open(`${broker.httpUrl}?principal=control&password=password`);
  await connected(page);
  const code = await codeOf(askPanel(page));
  assert.match(
    code,
    /principal: "control",\n {2}credentials: \(\) => prompt\("Password"\),\n {2}properties: \{ room: "lobby" \}/,
  );
  assert.ok(!code.includes('"password"'));
});

// ---- Documentation --------------------------------------------------------------------------------------------------

pageTest("the documentation is a click away, and so is the way back", async (open) => {
  const page = await open();
  for (const link of await page.getByRole("navigation", { name: "Documentation" }).getByRole("link").all()) {
    const [href, label] = [await link.getAttribute("href"), await link.innerText()];
    const other = await open(new URL(href, broker.httpUrl).href);
    assert.ok((await other.getByRole("heading", { level: 1 }).innerText()).length > 0, label);
    await other.close();
  }
  await page.getByRole("link", { name: "filters" }).click();
  await page.getByRole("heading", { name: "The language" }).waitFor();
  await page.getByRole("link", { name: "Try it" }).click();
  await connected(page);
});
