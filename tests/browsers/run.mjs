// Declares the tests of one browser, by the package as it ships and against a real broker: the essentials, and the cases
// of tests/web.

import { after, describe, test } from "node:test";
import { connect } from "antiphon";
import { WebSocket } from "ws";
import { startSite } from "../package/workers/site.mjs";
import { startBroker } from "../support/broker.mjs";
import { browsers } from "../support/browsers/index.mjs";
import { assembleCases, declareCases } from "../web/run.mjs";
import { essentials } from "./essentials.mjs";

const PAGE = '<!doctype html><meta charset="utf-8"><link rel="icon" href="data:,"><title>Empty</title><body></body>';

/** @param {keyof typeof browsers} name */
export async function declareTests(name) {
  const { find, launch, keepsPages } = browsers[name];
  if (!find()) return test(name, { skip: `${name} is not installed` }, () => {});

  const broker = await startBroker(["--www", assembleCases()]);
  const site = await startSite({ files: { "/empty.html": PAGE, "/other.html": PAGE } });
  const control = { principal: "control", credentials: "password" };
  const other = await connect(broker.url, { webSocket: WebSocket, log: "off", ...control });
  const browser = await launch();
  after(async () => {
    await browser.close();
    await other.close();
    await site.stop();
    await broker.stop();
  });

  const surroundings = {
    open: () => browser.open(`${site.url}empty.html`),
    async openWorker(kind) {
      const page = await browser.open(`${site.url}page.html?in=${kind}`);
      await page.evaluate(async () => {
        while (!("tell" in globalThis)) await new Promise((resolve) => setTimeout(resolve, 10));
      });
      return page;
    },
    siteUrl: site.url,
    keepsPages,
    broker,
    other,
  };
  await declareCases(() => browser.open(broker.httpUrl));
  describe(`essentials in ${browser.version}`, () => {
    for (const [index, [essential, check]] of Object.entries(essentials).entries()) {
      test(essential, () => check({ ...surroundings, path: (suffix) => `essential/${index}/${suffix}` }));
    }
  });
}
