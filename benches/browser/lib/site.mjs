// Serves the pages. They are cross-origin isolated, which makes their clocks exact.

import { once } from "node:events";
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { extname, join } from "node:path";
import { filesBelow } from "../../../scripts/lib/files.mjs";
import { site } from "./bundle.mjs";

const TYPES = { ".js": "text/javascript", ".wasm": "application/wasm" };
const PAGE =
  '<!doctype html><title>bench</title><link rel="icon" href="data:,"><script type="module" src="/driver.js"></script>';

/** Gives the address of the page, and `close`. */
export async function serveSite() {
  const files = new Map(filesBelow(site).map((path) => [`/${path}`, path]));
  const server = createServer((request, response) => {
    response.setHeader("Cross-Origin-Opener-Policy", "same-origin");
    response.setHeader("Cross-Origin-Embedder-Policy", "require-corp");
    response.setHeader("Cache-Control", "no-store");
    const path = files.get(request.url);
    if (request.url === "/") response.setHeader("Content-Type", "text/html").end(PAGE);
    else if (path === undefined) response.writeHead(404).end();
    else response.setHeader("Content-Type", TYPES[extname(path)]).end(readFileSync(join(site, path)));
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return { url: `http://127.0.0.1:${server.address().port}/`, close: () => server.close() };
}
