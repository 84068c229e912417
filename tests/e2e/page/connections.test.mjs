// The page as a user meets it: connections that are lost, ended and made again.

import assert from "node:assert/strict";
import { connectPeer } from "../../rules/support/endpoint.mjs";
import { startBroker } from "../../support/broker.mjs";
import { startCutter } from "../../support/cutter.mjs";
import { assembleSite } from "../../support/site.mjs";
import * as wire from "../../support/wire.mjs";
import {
  answerPanel,
  answerTo,
  ask,
  askPanel,
  assertContrast,
  assertFailed,
  broker,
  connected,
  connection,
  handlers,
  log,
  PATIENCE,
  pageTest,
  register,
  result,
  resultWith,
  sessionId,
} from "./support.mjs";

const LOSS_LIMIT = 2_000; // ms in which a lost connection must show

/** What the browser itself says of an attempt to connect that comes to nothing. */
const NO_CONNECTION = /^WebSocket connection to \S+ failed: /;

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
  async (open, context) => {
    const cutter = await startCutter(broker);
    context.once("close", () => cutter.stop());
    const address = `${broker.httpUrl}?broker=${cutter.url}`;
    const [answerer, asker] = [await open(address), await open(address)];
    await register(answerer, "steady", "() => new Promise((done) => { globalThis.release = () => done('at last'); })");
    await register(answerer, "unsteady");
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
    await answerer.getByRole("button", { name: "Unregister unsteady" }).click();
    await answerPanel(answerer).getByText("No longer answering unsteady").waitFor();
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

    const operator = await connectPeer(mortal);
    const ids = await Promise.all([answerer, asker].map(sessionId));
    const ended = performance.now();
    for (const id of ids) await operator.ask(wire.CLOSE_CLIENT, wire.sessionId(id));
    await assertFailed(asker, "SESSION_CLOSED", "unknown");
    const elapsed = performance.now() - ended;
    assert.ok(elapsed < LOSS_LIMIT, `${elapsed} ms`);
    for (const page of [answerer, asker]) {
      await connection(page).getByText("CLOSED_BY_SERVER").waitFor();
      await page.getByRole("button", { name: "Connect" }).waitFor();
    }
    await handlers(answerer).getByText("not registered now").nth(1).waitFor();
    await operator.close();
    await mortal.stop();

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
