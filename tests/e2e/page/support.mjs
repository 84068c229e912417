// What the tests of the page share: two tabs of headless Chromium, a broker, the package as shipped, and a user's hands.

import assert from "node:assert/strict";
import { after, test } from "node:test";
import { startBroker } from "../../support/broker.mjs";
import { launchBrowser } from "../../support/browser.mjs";
import { assembleSite } from "../../support/site.mjs";

const AA_CONTRAST = 4.5; // WCAG 2.2, 1.4.3
export const PATIENCE = 30_000; // ms until something that must appear counts as missing

/** What the client says where a handler throws. */
export const HANDLER_FAILED = /^antiphon: the request handler for \S+ failed/;

export const broker = await startBroker(["--www", assembleSite()]);
const browser = await launchBrowser();

after(async () => {
  await browser.close();
  await broker.stop();
});

/**
 * A test with a browser context of its own. It fails, whatever it checks, if a page writes a warning or an error to the
 * console, throws, asks another host for something or gets no good answer to a request.
 *
 * @param {string} name
 * @param {(open: (url?: string) => Promise<import("playwright-core").Page>, context: import("playwright-core").BrowserContext) => Promise<void>} body
 * @param {import("playwright-core").BrowserContextOptions & { expected?: RegExp }} options `expected`: console lines that belong to the test
 */
export function pageTest(name, body, { expected, ...options } = {}) {
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

export const connection = (page) => page.getByRole("status", { name: "Connection" });
export const answerPanel = (page) => page.getByRole("region", { name: "Answer" });
export const askPanel = (page) => page.getByRole("region", { name: "Ask" });
export const result = (page) => page.getByRole("status", { name: "Result" });
export const log = (page) => page.getByRole("log", { name: "Log" });
export const messages = (page) => page.getByRole("log", { name: "Messages" });
export const sessions = (page) => page.getByRole("list", { name: "Sessions" });
export const handlers = (page) => page.getByRole("list", { name: "Registered handlers" });
export const connected = (page) => connection(page).getByText("Connected", { exact: true }).waitFor();

/** As a person changes tabs. A tab in the background draws once a second, and clicks wait for that. */
export async function turnTo(page) {
  await page.bringToFront();
  await connected(page);
}

/**
 * Registers `source`, or what the page proposes, and waits until requests reach it: those sent to the path, or those
 * sent to the page's session if `to` is "session".
 */
export async function register(page, path, source, to = "path") {
  await turnTo(page);
  await answerPanel(page).getByLabel("Sent to").selectOption(to);
  await answerPanel(page).getByLabel("Path").fill(path);
  if (source) await answerPanel(page).getByLabel("Function", { exact: true }).fill(source);
  await answerPanel(page).getByRole("button", { name: "Register", exact: true }).click();
  const name = to === "path" ? path : `${path}, sent to this session`;
  await answerPanel(page).getByText(`Answering ${name}`, { exact: true }).waitFor();
}

/** Asks the given session or filter, else whoever handles the path. */
export async function ask(page, path, { session, filter, value = '{ "name": "Ada" }', timeout = "" } = {}) {
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
export async function resultWith(page, text) {
  await result(page).getByText(text).first().waitFor();
  return result(page).innerText();
}

export async function sessionId(page) {
  await connected(page);
  return page.locator("#session-id").innerText();
}

/** The lines of the responses to a filter, once there are as many, by the session ID they begin with. */
export async function responses(page, count) {
  await result(page).getByText(`${count} of ${count} responses`).waitFor();
  const lines = await result(page).getByRole("list", { name: "Responses" }).getByRole("listitem").allInnerTexts();
  assert.equal(lines.length, count);
  return Object.fromEntries(lines.map((line) => [line.split(/\s/, 1)[0], line]));
}

/** Waits for an answer and gives all of the result. Exactly this word: "Waiting for an answer" has it too. */
export async function answerTo(page) {
  await result(page).getByText("Answer", { exact: true }).waitFor();
  return result(page).innerText();
}

/** Asserts that the last request failed like this, with words for people about the outcome. */
export async function assertFailed(page, code, outcome, ...rest) {
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

/** Every visible text against the nearest background behind it. All colours of the page are opaque. */
export async function assertContrast(page) {
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
