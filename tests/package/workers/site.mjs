// A web server for tests: the pages and workers of this folder with the built package beside them, without a bundler.

import { once } from "node:events";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { createServer } from "node:http";
import { extname, join } from "node:path";
import { dist, fromRoot } from "../../../scripts/lib/paths.mjs";

/** The entries of the package, by the name that an application imports. */
export const ENTRIES = { antiphon: "index.js", "antiphon/inline": "inline.js" };

const PAGES = fromRoot("tests", "package", "workers");
const MEDIA_TYPES = { ".html": "text/html", ".js": "text/javascript", ".wasm": "application/wasm" };

/**
 * Starts the server.
 *
 * @param {object} [options]
 * @param {string} [options.entry] what `antiphon` stands for in the files of this folder. The server writes its address
 *   in the place of the name, because import maps do not reach into workers.
 * @param {Record<string, string>} [options.headers] sent with every file
 * @param {Record<string, string>} [options.mediaTypes] others than usual, by the ending of the name
 * @param {Record<string, string | Buffer>} [options.files] further files, or others, by path
 */
export async function startSite({ entry = "antiphon", headers = {}, mediaTypes = {}, files = {} } = {}) {
  if (!existsSync(join(dist, ENTRIES[entry]))) throw new Error(`no dist/${ENTRIES[entry]}: npm run build`);
  const served = new Map();
  for (const name of readdirSync(dist)) served.set(`/antiphon/${name}`, readFileSync(join(dist, name)));
  for (const name of readdirSync(PAGES)) {
    const text = readFileSync(join(PAGES, name), "utf8");
    served.set(`/${name}`, text.replaceAll('from "antiphon"', `from "/antiphon/${ENTRIES[entry]}"`));
  }
  for (const [path, content] of Object.entries(files)) served.set(path, content);

  const requested = [];
  const server = createServer(({ url }, response) => {
    const { pathname } = new URL(url, "http://127.0.0.1");
    requested.push(pathname);
    const content = served.get(pathname);
    if (content === undefined) return response.writeHead(404, headers).end();
    const type = { ...MEDIA_TYPES, ...mediaTypes }[extname(pathname)];
    response.writeHead(200, { "content-type": type, ...headers }).end(content);
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    /** Where it is: `http://127.0.0.1:PORT/`. */
    url: `http://127.0.0.1:${server.address().port}/`,
    /** The paths that were asked for so far, in order. */
    requested,
    async stop() {
      server.closeAllConnections();
      server.close();
      await once(server, "close");
    },
  };
}
