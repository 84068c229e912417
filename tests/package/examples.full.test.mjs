// The applications of examples/, built as their manifests say, served built and by the development server, each in two
// tabs of a browser against a broker.

import assert from "node:assert/strict";
import { mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { fromRoot } from "../../scripts/lib/paths.mjs";
import { startBroker } from "../support/broker.mjs";
import { launchBrowser } from "../support/browser.mjs";
import { copyExample, requirementsOf, runScript, toolOf } from "./support/examples.mjs";
import { serveVite } from "./support/page.mjs";

const desks = ["react", "vue", "sveltekit"];
const screenshots = fromRoot("build", "screenshots");

const [broker, browser] = await Promise.all([startBroker(), launchBrowser()]);
before(() => mkdirSync(screenshots, { recursive: true }));
after(async () => {
  await browser.close();
  await broker.stop();
});

/** Opens tabs at the addresses, does something with them, and checks that none of them had anything to complain about. */
async function inTabs(urls, body) {
  const context = await browser.newContext({ viewport: { width: 1000, height: 700 } });
  context.setDefaultTimeout(20_000); // ms; a development server may have to compile first
  const complaints = [];
  context.on("console", (message) => {
    if (["error", "warning"].includes(message.type())) complaints.push(message.text());
  });
  context.on("weberror", (event) => complaints.push(event.error().stack));
  try {
    const tabs = [];
    for (const url of urls) {
      const tab = await context.newPage();
      await tab.goto(url);
      await tab.getByRole("status").getByText("connected", { exact: true }).waitFor();
      tabs.push(tab);
    }
    await body(...tabs);
    assert.deepEqual(complaints, [], "the pages wrote to the console");
  } catch (error) {
    throw new Error([error.message, ...complaints].join("\n"), { cause: error });
  } finally {
    await context.close();
  }
}

const section = (tab, name) => tab.getByRole("region", { name, exact: true });
const line = (tab, name, text) => section(tab, name).getByRole("listitem").filter({ hasText: text });

async function order(tab, item) {
  await tab.bringToFront(); // a tab in the background draws once a second, and clicks wait for that
  await section(tab, "Order").getByLabel("Item").fill(item);
  await section(tab, "Order").getByLabel("Region").selectOption("eu");
  await section(tab, "Order").getByRole("button", { name: "Order" }).click();
}

async function serve(tab, region) {
  await tab.bringToFront();
  await tab.getByLabel("Region to serve").selectOption(region);
}

async function answer(tab, item, button) {
  await tab.bringToFront();
  await line(tab, "Serve", `1 × ${item} for Ada`).getByRole("button", { name: button }).click();
}

/** Two people: one serves a region, the other orders there. */
async function serveAndOrder(serving, asking) {
  await serving.getByLabel("Your name").fill("Grace");
  await asking.getByLabel("Your name").fill("Ada");
  await order(asking, "Coffee");
  await line(asking, "Order", "1 × Coffee no session handles orders/eu").waitFor();

  await serve(serving, "eu");
  await line(asking, "Here now", "Grace serves eu").waitFor();
  await line(serving, "Here now", "Ada").waitFor();
  assert.equal(await section(asking, "Here now").getByRole("listitem").count(), 2, "a session for each tab");

  await order(asking, "Tea");
  await answer(serving, "Tea", "Accept");
  await line(asking, "Order", "1 × Tea accepted by Grace").waitFor();
  await order(asking, "Milk");
  await answer(serving, "Milk", "Refuse");
  await line(asking, "Order", "1 × Milk sold out").waitFor();

  // Who serves another region leaves the first, and refuses the orders that wait there.
  await order(asking, "Cake");
  await line(serving, "Serve", "1 × Cake for Ada").waitFor();
  await serve(serving, "us");
  await line(asking, "Order", "1 × Cake the desk has closed").waitFor();
  assert.equal(await section(serving, "Serve").getByRole("listitem").count(), 0);
  await order(asking, "Soup");
  await line(asking, "Order", "1 × Soup no session handles orders/eu").waitFor();
  await serve(serving, "eu");
  await line(asking, "Here now", "Grace serves eu").waitFor();
  await order(asking, "Pie");
  await answer(serving, "Pie", "Accept");
  await line(asking, "Order", "1 × Pie accepted by Grace").waitFor();
  assert.equal(await serving.getByRole("alert").count(), 0);
}

for (const name of [...desks, "opentelemetry"]) {
  test(`${name}: its manifest asks for the versions that are tested`, () => {
    const tools = JSON.parse(readFileSync(fromRoot("tests", "package", "tools", "package.json"), "utf8"));
    for (const [wanted, version] of Object.entries(requirementsOf(name))) {
      assert.equal(version, tools.devDependencies[wanted], wanted);
    }
  });
}

for (const name of desks) {
  test(`${name}: built, and under the development server, two tabs talk and the console stays empty`, async (context) => {
    const app = await copyExample(name);
    const vite = toolOf(app, "vite");
    await runScript(app, "build", broker.url);
    const url = await serveVite(context, app, vite, "preview");
    await inTabs([url, url], async (serving, asking) => {
      await serveAndOrder(serving, asking);
      await serving.screenshot({ path: join(screenshots, `example-${name}.png`) });
    });
    const dev = await serveVite(context, app, vite, "dev", { VITE_BROKER: broker.url });
    await inTabs([dev, dev], serveAndOrder);
  });
}

/** The spans that a tab lists, by name; waits until there are so many. */
async function spansOf(tab, count) {
  const items = tab.getByRole("list", { name: "Spans" }).getByRole("listitem");
  await items.nth(count - 1).waitFor();
  const spans = await items.evaluateAll((all) => all.map(({ dataset }) => ({ ...dataset })));
  return Object.fromEntries(spans.map((span) => [span.name, span]));
}

test("opentelemetry: a tab asks another, whose handler asks on, and their spans are one trace", async (context) => {
  const app = await copyExample("opentelemetry");
  await runScript(app, "build", broker.url);
  const url = await serveVite(context, app, toolOf(app, "vite"), "preview");
  await inTabs([url, url], async (serving, ordering) => {
    await serving.getByRole("button", { name: "Serve" }).click();
    await serving.getByRole("status").getByText("serving").waitFor();
    await ordering.bringToFront();
    await ordering.getByRole("button", { name: "Order" }).click();
    await ordering.getByText("tea: 3, 12 left").waitFor();
    const asked = (await spansOf(ordering, 1))["ask orders"];
    const spans = await spansOf(serving, 4);
    assert.equal(asked.parent, "");
    const parents = {
      "handle orders": asked,
      "ask prices": spans["handle orders"],
      "handle prices": spans["ask prices"],
      // The handler asked for it within the order, and said nothing of a trace.
      "handle stock": asked,
    };
    assert.deepEqual(Object.keys(spans).sort(), Object.keys(parents).sort());
    for (const [name, parent] of Object.entries(parents)) {
      assert.equal(spans[name].traceId, asked.traceId, name);
      assert.equal(spans[name].parent, parent.spanId, name);
    }
  });
});
