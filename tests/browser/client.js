// What the tests use of the client's JavaScript. `npm run build` makes one file of it, `build/test/client.js`: the web
// server of the test runner (tiny_http 0.12) can leave a connection waiting for ever once a page loads more than four.

export { ConnectError, MessagingError, RejectedRequestError } from "../../src/error.js";
export { datatypes } from "../../src/value.js";

import { open as openPrepared, prepare } from "../../src/session.js";

/** `connect` without what loads the WebAssembly. */
export async function open(create, url, options) {
  return openPrepared(create, prepare(url, options), 0);
}
