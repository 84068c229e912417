// The page as a user meets it: two tabs of headless Chromium, a broker, and the package as shipped.

import assert from "node:assert/strict";
import { mkdirSync } from "node:fs";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";
import { startBroker } from "../support/broker.mjs";
import { launchBrowser } from "../support/browser.mjs";
import { startCutter } from "../support/cutter.mjs";
import { assembleSite } from "../support/site.mjs";

const PATIENCE = 10_000; // ms until something that must appear counts as missing
const LOSS_LIMIT = 2_000; // ms in which a lost connection must show
const MAX_LOG_LINES = 200; // as in www/main.js
const AA_CONTRAST = 4.5; // WCAG 2.2, 1.4.3
const screenshots = fileURLToPath(new URL("../../build/screenshots/", import.meta.url));

/** What the client says where a handler throws. */
const HANDLER_FAILED = /^antiphon: the request handler for \S+ failed/;
/** What the browser itself says of an attempt to connect that comes to nothing. */
const NO_CONNECTION = /^WebSocket connection to \S+ failed: /;

let browser;
let broker;

before(async () => {
  broker = await startBroker(["--www", assembleSite()]);
  browser = await launchBrowser();
});

after(async () => {
  await browser?.close();
  await broker?.stop();
});

/**
 * A test with a browser context of its own. It fails, whatever it checks, if a page writes a warning or an error to the
 * console, throws, asks another host for something or gets no good answer to a request.
 *
 * @param {string} name
 * @param {(open: (url?: string) => Promise<import("playwright-core").Page>, context: import("playwright-core").BrowserContext) => Promise<void>} body
 * @param {import("playwright-core").BrowserContextOptions & { expected?: RegExp }} options `expected`: console lines that belong to the test
 */
function pageTest(name, body, { expected, ...options } = {}) {
  test(name, async () => {
    const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, ...options });
    context.setDefaultTimeout(PATIENCE);
    const problems = [];
    const hosts = new Set();
    context.on("console", (message) => {
      const quiet = ["log", "info", "debug"].includes(message.type()) || expected?.test(message.text());
      if (!quiet) problems.push(`${message.type()}: ${message.text()}`);
    });
    context.on("weberror", (event) => problems.push(`thrown: ${event.error().stack}`));
    context.on("request", (request) => hosts.add(new URL(request.url()).hostname));
    context.on("response", (response) => {
      if (response.status() >= 400) problems.push(`${response.status()} ${response.url()}`);
    });
    const open = async (url = broker.httpUrl) => {
      const page = await context.newPage();
      await page.goto(url);
      return page;
    };
    try {
      try {
        await body(open, context);
      } catch (error) {
        // What the pages had complained about by then is most often the cause.
        throw new Error([error.message, ...problems].join("\n"), { cause: error });
      }
      assert.deepEqual(problems, [], "the console is clean");
      assert.deepEqual(
        [...hosts].filter((host) => host !== "127.0.0.1" && host !== ""),
        [],
        "nothing from elsewhere",
      );
    } finally {
      await context.close();
    }
  });
}

const connection = (page) => page.getByRole("status", { name: "Connection" });
const copying = (page) => page.getByRole("status", { name: "Copying" });
const answerPanel = (page) => page.getByRole("region", { name: "Answer" });
const askPanel = (page) => page.getByRole("region", { name: "Ask" });
const result = (page) => page.getByRole("status", { name: "Result" });
const log = (page) => page.getByRole("log", { name: "Log" });
const handlers = (page) => page.getByRole("list", { name: "Registered handlers" });

const connected = (page) => connection(page).getByText("Connected", { exact: true }).waitFor();

/** As a person changes tabs. A tab in the background draws once a second, and clicks wait for that. */
async function turnTo(page) {
  await page.bringToFront();
  await connected(page);
}

/**
 * Registers `source`, or what the page proposes, and waits until requests reach it: those sent to the path, or those
 * sent to the page's session if `to` is "session".
 */
async function register(page, path, source, to = "path") {
  await turnTo(page);
  await answerPanel(page).getByLabel("Sent to").selectOption(to);
  await answerPanel(page).getByLabel("Path").fill(path);
  if (source) await answerPanel(page).getByLabel("Function", { exact: true }).fill(source);
  await answerPanel(page).getByRole("button", { name: "Register", exact: true }).click();
  const name = to === "path" ? path : `${path}, sent to this session`;
  await answerPanel(page).getByText(`Answering ${name}`, { exact: true }).waitFor();
}

/** Asks the given session or filter, else whoever handles the path. */
async function ask(page, path, { session, filter, value = '{ "name": "Ada" }', timeout = "" } = {}) {
  await turnTo(page);
  const to = askPanel(page).getByLabel("To", { exact: true });
  if (session !== undefined) {
    await to.selectOption("one session");
    await askPanel(page).getByLabel("Session ID").fill(session);
  } else if (filter !== undefined) {
    await to.selectOption("all sessions matching a filter");
    await askPanel(page).getByLabel("Session filter").fill(filter);
  } else {
    await to.selectOption("whoever handles the path");
  }
  await askPanel(page).getByLabel("Path").fill(path);
  await askPanel(page).getByLabel("JSON value").fill(value);
  await askPanel(page).getByLabel("Timeout in ms").fill(timeout);
  await askPanel(page).getByRole("button", { name: "Send" }).click();
}

/** Waits for `text` in the result and gives all of the result. */
async function resultWith(page, text) {
  await result(page).getByText(text).first().waitFor();
  return result(page).innerText();
}

async function sessionId(page) {
  await connected(page);
  return page.locator("#session-id").innerText();
}

/** The lines of the responses to a filter, once there are as many, by the session ID they begin with. */
async function responses(page, count) {
  await result(page).getByText(`${count} of ${count} responses`).waitFor();
  const lines = await result(page).getByRole("list", { name: "Responses" }).getByRole("listitem").allInnerTexts();
  assert.equal(lines.length, count);
  return Object.fromEntries(lines.map((line) => [line.split(/\s/, 1)[0], line]));
}

/** Waits for an answer and gives all of the result. Exactly this word: "Waiting for an answer" has it too. */
async function answerTo(page) {
  await result(page).getByText("Answer", { exact: true }).waitFor();
  return result(page).innerText();
}

/** Asserts that the last request failed like this, with words for people about the outcome. */
async function assertFailed(page, code, outcome, ...rest) {
  const text = await resultWith(page, code);
  for (const part of [code, outcome, ...rest]) assert.ok(text.includes(part), `"${part}" in: ${text}`);
  assert.match(text, /\d ms/);
  assert.match(text, EXPLANATIONS[outcome]);
}

const EXPLANATIONS = {
  "not-sent": /did not leave this page/,
  refused: /No handler ran/,
  failed: /no usable answer/,
  unknown: /may have run/,
};

// ---- Requests and answers -------------------------------------------------------------------------------------------

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
    await asker.getByRole("button", { name: "Clear" }).click();
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
    await resultWith(asker, "at <img");
    await ask(asker, "markup", { filter: markup });
    await resultWith(asker, "Line 1, column 5");
    for (const page of [answerer, asker]) {
      assert.equal(await page.locator("img").count(), 0);
      assert.equal(await page.evaluate(() => globalThis.hacked), undefined);
    }
  },
  { expected: HANDLER_FAILED },
);

// ---- One session, and every session that matches a filter -----------------------------------------------------------

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
  await assertFailed(page, "UNHANDLED_MESSAGE", "refused", "no stream");
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
    assert.match(lines[asking], /\(this tab\).*refused.*UNHANDLED_MESSAGE: .*no stream/s);

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

// ---- Mistakes in the fields -----------------------------------------------------------------------------------------

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

// ---- Connections ----------------------------------------------------------------------------------------------------

pageTest("a wrong password shows ACCESS_DENIED and offers Connect", async (open) => {
  const page = await open(`${broker.httpUrl}?principal=admin&password=wr0ng`);
  await connection(page).getByText("ACCESS_DENIED").waitFor();
  await page.getByRole("button", { name: "Connect" }).waitFor();
  assert.equal(await page.getByText("wr0ng").count(), 0, "the password is not shown");
  await askPanel(page).getByRole("button", { name: "Send" }).click();
  await assertFailed(page, "NOT_CONNECTED", "not-sent");
});

pageTest("the right password shows the principal", async (open) => {
  const page = await open(`${broker.httpUrl}?principal=admin&password=password`);
  await connected(page);
  assert.equal(await page.locator("#principal").innerText(), "admin");
});

pageTest(
  "when the connection breaks, the page shows it within 2 s, reconnects by itself, and nothing is lost",
  async (open) => {
    const cutter = await startCutter(broker);
    const address = `${broker.httpUrl}?broker=${cutter.url}`;
    const [answerer, asker] = [await open(address), await open(address)];
    await register(answerer, "steady", "() => new Promise((done) => { globalThis.release = () => done('at last'); })");
    const ids = await Promise.all([answerer, asker].map(sessionId));
    await ask(asker, "steady");
    await log(answerer).getByText("Request for steady").waitFor();

    const broken = performance.now();
    cutter.shut();
    for (const page of [answerer, asker]) await connection(page).getByText("Reconnecting", { exact: true }).waitFor();
    const elapsed = performance.now() - broken;
    assert.ok(elapsed < LOSS_LIMIT, `${elapsed} ms`);
    await assertContrast(answerer);
    assert.equal(await answerer.getByRole("button", { name: "Connect" }).count(), 0, "there is nothing to do by hand");
    await answerer.bringToFront();
    await answerer.getByRole("button", { name: "Unregister steady" }).click();
    await answerPanel(answerer).getByText("Still answering steady. NOT_CONNECTED").waitFor();
    assert.match(await result(asker).innerText(), /Waiting for an answer/);
    await answerer.evaluate(() => globalThis.release());

    cutter.open();
    await comeOnline(answerer, asker);
    assert.deepEqual(await Promise.all([answerer, asker].map(sessionId)), ids);
    assert.match(await answerTo(asker), /"at last"/);
    for (const page of [answerer, asker]) {
      await log(page).getByText("Disconnected: the connection was lost").waitFor();
      await log(page).getByText("Reconnected, nothing was lost", { exact: true }).waitFor();
    }
    await answerer.bringToFront();
    await answerer.getByRole("button", { name: "Unregister steady" }).click();
    await answerPanel(answerer).getByText("None yet").waitFor();
    await cutter.stop();
  },
  { expected: NO_CONNECTION },
);

pageTest(
  "when the broker dies and comes back, each page gets a new session and its handlers by itself, and what waited fails",
  async (open) => {
    const site = assembleSite();
    const mortal = await startBroker(["--www", site]);
    const [answerer, asker] = [await open(mortal.httpUrl), await open(mortal.httpUrl)];
    await register(answerer, "doomed", "(request) => request === 1 ? new Promise(() => {}) : 'back'");
    await register(answerer, "doomed", "() => 'back as well'", "session");
    const before = await Promise.all([answerer, asker].map(sessionId));
    await ask(asker, "doomed", { value: "1" });
    await log(answerer).getByText("Request for doomed").waitFor();

    await mortal.kill();
    for (const page of [answerer, asker]) await connection(page).getByText("Reconnecting", { exact: true }).waitFor();
    assert.match(await result(asker).innerText(), /Waiting for an answer/);
    await log(asker).getByText("Disconnected").waitFor();

    const heir = await startBroker(["--www", site, "--listen", `127.0.0.1:${mortal.port}`]);
    await comeOnline(answerer, asker);
    await assertFailed(asker, "CONNECTION_LOST", "unknown");
    await log(asker).getByText("Messages were lost: 1 request failed, registering 0 handlers again").waitFor();
    await log(answerer).getByText("Messages were lost: 0 requests failed, registering 1 handler again").waitFor();
    for (const [index, page] of [answerer, asker].entries()) {
      const id = await sessionId(page);
      assert.notEqual(id, before[index]);
      await log(page).getByText(`Reconnected, with a new session, ${id}`, { exact: true }).waitFor();
    }
    assert.equal(await handlers(answerer).getByText("not registered now").count(), 0);
    await ask(asker, "doomed", { value: "2" });
    await resultWith(asker, '"back"');
    await ask(asker, "doomed", { session: await sessionId(answerer) });
    await resultWith(asker, '"back as well"');
    await heir.stop();
  },
  { expected: NO_CONNECTION },
);

pageTest(
  "when the broker ends the sessions, a waiting request fails within 2 s, and Connect brings the handlers back",
  async (open) => {
    const site = assembleSite();
    const mortal = await startBroker(["--www", site]);
    const [answerer, asker] = [await open(mortal.httpUrl), await open(mortal.httpUrl)];
    await register(answerer, "doomed", "(request) => request === 1 ? new Promise(() => {}) : 'back'");
    await register(answerer, "doomed", "() => 'back as well'", "session");
    await ask(asker, "doomed", { value: "1" });
    await log(answerer).getByText("Request for doomed").waitFor();

    const ended = performance.now();
    await mortal.stop();
    await assertFailed(asker, "SESSION_CLOSED", "unknown");
    const elapsed = performance.now() - ended;
    assert.ok(elapsed < LOSS_LIMIT, `${elapsed} ms`);
    for (const page of [answerer, asker]) {
      await connection(page).getByText("CLOSED_BY_SERVER").waitFor();
      await page.getByRole("button", { name: "Connect" }).waitFor();
    }
    await handlers(answerer).getByText("not registered now").nth(1).waitFor();

    await asker.getByRole("button", { name: "Connect" }).click();
    await connection(asker).getByText("CONNECTION_ERROR").waitFor();
    await askPanel(asker).getByRole("button", { name: "Send" }).click();
    await assertFailed(asker, "SESSION_CLOSED", "not-sent");

    const heir = await startBroker(["--www", site, "--listen", `127.0.0.1:${mortal.port}`]);
    for (const page of [answerer, asker]) {
      await page.bringToFront();
      await page.getByRole("button", { name: "Connect" }).click();
      await connected(page);
    }
    await handlers(answerer).getByText("not registered now").first().waitFor({ state: "detached" });
    await ask(asker, "doomed", { value: "2" });
    await resultWith(asker, '"back"');
    await ask(asker, "doomed", { session: await sessionId(answerer) });
    await resultWith(asker, '"back as well"');
    await heir.stop();
  },
  { expected: NO_CONNECTION },
);

/** Tells pages what the platform tells them when the network is back, so that they need not wait for their next try. */
async function comeOnline(...pages) {
  for (const page of pages) {
    await page.evaluate(() => dispatchEvent(new Event("online")));
    await connected(page);
  }
}

pageTest("a tab that is closed answers nothing any more", async (open) => {
  const [answerer, asker] = await Promise.all([open(), open()]);
  await register(answerer, "brief");
  await ask(asker, "brief");
  await answerTo(asker);
  await answerer.close({ runBeforeUnload: false });
  // The tab's end and the request travel on different connections, so the first request may still be on its way to it.
  const deadline = performance.now() + PATIENCE;
  let text;
  do {
    await ask(asker, "brief", { timeout: "500" });
    await result(asker)
      .getByText(/Waiting/)
      .waitFor({ state: "detached" });
    text = await result(asker).innerText();
  } while (!text.includes("UNHANDLED_MESSAGE") && performance.now() < deadline);
  assert.match(text, /UNHANDLED_MESSAGE/);
});

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
  await page.getByRole("button", { name: "Clear" }).click();
  assert.equal(await log(page).getByRole("listitem").count(), 0);
});

// ---- For everybody --------------------------------------------------------------------------------------------------

pageTest("by keyboard alone everything is reached in reading order, with a visible focus", async (open) => {
  const page = await open();
  await register(page, "greetings");
  await page.getByRole("link").focus();
  await page.keyboard.press("Shift+Tab"); // to before the first
  const reached = [];
  while (reached.length < 30) {
    await page.keyboard.press("Tab");
    const focus = await page.evaluate(() => {
      const at = document.activeElement;
      const { outlineStyle, outlineWidth } = getComputedStyle(at);
      return { id: at.id || at.role || at.textContent, outline: `${outlineStyle} ${outlineWidth}` };
    });
    if (focus.id === reached[0]) break; // once around
    assert.equal(focus.outline, "solid 3px", focus.id);
    reached.push(focus.id);
  }
  assert.deepEqual(reached, [
    "second-tab",
    "copy-session",
    "answer-path",
    "answer-to",
    "example",
    "answer-function",
    "register",
    "Unregister",
    "ask-to",
    "ask-path",
    "ask-timeout",
    "ask-value",
    "Send",
    "clear-log",
    "log",
  ]);
});

pageTest("by keyboard alone one tab registers and another sends with Ctrl+Enter", async (open) => {
  const [answerer, asker] = await Promise.all([open(), open()]);
  const tabTo = async (page, locator) => {
    await turnTo(page);
    for (let step = 0; step < 30; step += 1) {
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

/** Every visible text against the nearest background behind it. All colours of the page are opaque. */
async function assertContrast(page) {
  const weak = await page.evaluate((enough) => {
    const channels = (colour) => colour.match(/[\d.]+/g).map(Number);
    const luminance = (colour) => {
      const [r, g, b] = channels(colour).map((c) =>
        c / 255 <= 0.04045 ? c / 255 / 12.92 : ((c / 255 + 0.055) / 1.055) ** 2.4,
      );
      return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const background = (element) => {
      const colour = getComputedStyle(element).backgroundColor;
      return channels(colour)[3] === 0 ? background(element.parentElement) : colour;
    };
    const weak = [];
    const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (texts.nextNode()) {
      const { parentElement: element, data } = texts.currentNode;
      if (data.trim() === "" || !element.checkVisibility()) continue;
      const [one, other] = [getComputedStyle(element).color, background(element)].map(luminance);
      const contrast = (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05);
      if (contrast < enough) weak.push(`${contrast.toFixed(2)}: ${data}`);
    }
    return weak;
  }, AA_CONTRAST);
  assert.deepEqual(weak, []);
}
