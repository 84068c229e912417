// A session controlled by messages, wherever this module is imported: in a page or in any kind of worker.

import { connect } from "antiphon";

let session;
const violations = [];
addEventListener("securitypolicyviolation", ({ violatedDirective, blockedURI }) => {
  violations.push(`${violatedDirective} ${blockedURI}`);
});

const commands = {
  /** Opens the session and answers requests to `path`; gives its ID, the same for everybody who shares it. */
  async join(broker, path, options) {
    session ??= connect(broker, options).then(async (opened) => {
      await opened.messaging.addRequestHandler(path, (request) => ({ ...request, answered: path }));
      await opened.messaging.addRequestHandler(`${path}/never`, () => new Promise(() => {}));
      return opened;
    });
    return (await session).id;
  },
  ask: async (path, request) => (await session).messaging.sendRequestToPath(path, request),
  leave: async () => (await session).close(),
  /** What there is of a page here. */
  globals: () => ["window", "document"].filter((name) => name in globalThis),
  /** What the Content Security Policy refused here. */
  violations: () => violations,
};

/** Does what a message tells, and answers through the port that came with it. */
export async function answer({ data: [command, ...args], ports: [port] }) {
  try {
    port.postMessage({ value: await commands[command](...args) });
  } catch ({ name, code, message, retryable }) {
    port.postMessage({ error: { name, code, message, retryable } });
  }
}

/** For a service worker, which answers requests for addresses. */
export const { ask, join } = commands;
