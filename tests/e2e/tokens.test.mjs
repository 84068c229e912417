// A page that logs in with a token, which expires and is replaced while the session goes on.

import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:http";
import { after, test } from "node:test";
import { startBroker } from "../support/broker.mjs";
import { launchBrowser } from "../support/browser.mjs";
import { folderWith, Issuer, tokensTable } from "../support/identity.mjs";
import { assembleBlankPages } from "./support/blank.mjs";

const LIFE = 4; // s; of a token

const issuer = new Issuer();
/** Where pages get their tokens: a server that knows who is logged in. */
const shop = createServer((_, response) => {
  response.writeHead(200, { "access-control-allow-origin": "*" });
  response.end(issuer.token({}, { alg: "ES256", seconds: LIFE }));
});
shop.listen(0, "127.0.0.1");
await once(shop, "listening");
const path = folderWith({ after }, { "jwks.json": issuer.jwks });
const config = folderWith(
  { after },
  {
    "broker.toml": `origins = ["same-host"]\n${tokensTable(`keys = "${path("jwks.json")}"`)}`,
  },
);
const broker = await startBroker(["--config", config("broker.toml"), "--www", assembleBlankPages()]);
const browser = await launchBrowser();
after(async () => {
  await browser.close();
  await broker.stop();
  shop.close();
});

test("I-6: a page logs in with a token, which expires and is replaced without losing the session", async () => {
  const page = await browser.newPage();
  await page.goto(broker.httpUrl);
  const seen = await page.evaluate(
    async ([url, shop, life]) => {
      const { connect } = await import("/antiphon/index.js");
      const tokens = [];
      const credentials = async () => {
        tokens.push(await (await fetch(shop)).text());
        return tokens.at(-1);
      };
      const session = await connect(url, { principal: "ada", credentials });
      const told = [];
      for (const event of ["statechange", "disconnect", "close"]) session.on(event, () => told.push(event));
      const { id } = session;
      await session.messaging.addRequestHandler("page/echo", (request) => request);
      const expires = async () => Number((await session.getProperties(["$ExpiryTime"])).$ExpiryTime);
      const first = await expires();
      // Longer than two tokens are good for.
      while (Date.now() < first + life * 1000) {
        await session.messaging.sendRequestToPath("page/echo", 1);
        await new Promise((resolve) => setTimeout(resolve, 100));
      }
      const last = await expires();
      const answer = await session.messaging.sendRequestToPath("page/echo", "still there");
      return { isSame: session.id === id, told, tokens: new Set(tokens).size, isLater: last > first, answer };
    },
    [broker.url, `http://127.0.0.1:${shop.address().port}/`, LIFE],
  );
  assert.ok(seen.tokens >= 3, `${seen.tokens} tokens`);
  assert.deepEqual({ ...seen, tokens: 0 }, { isSame: true, told: [], tokens: 0, isLater: true, answer: "still there" });
});
