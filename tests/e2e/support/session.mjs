// A session in a page, driven by a test from outside.

/**
 * Opens `globalThis.session` in `page`, with handlers at `NAME/echo` and, never answering, at `NAME/never`. What its
 * listeners are told is in `globalThis.told`: `[event, detail]`. `delay` is that of every attempt to reconnect, in ms.
 * Gives the ID of the session.
 */
export function openSession(page, { url, name, reconnect, delay, ...options }) {
  return page.evaluate(
    async ({ url, name, reconnect, delay, options }) => {
      const { connect } = await import("/antiphon/index.js");
      if (delay !== undefined) reconnect = { ...reconnect, delay: () => delay };
      const session = await connect(url, { ...options, reconnect });
      const told = [];
      for (const event of ["statechange", "disconnect", "messageloss", "reconnect", "close"]) {
        session.on(event, (detail) => told.push([event, detail]));
      }
      for (const event of ["pagehide", "pageshow"]) {
        addEventListener(event, ({ persisted }) => told.push([event, persisted]));
      }
      Object.assign(globalThis, { session, told });
      await session.messaging.addRequestHandler(`${name}/echo`, (request) => request);
      await session.messaging.addRequestHandler(`${name}/never`, () => new Promise(() => {}));
      return session.id;
    },
    { url, name, reconnect, delay, options },
  );
}

/** Waits until the session of `page` is connected; returns the events since the last call. */
export function whenConnected(page) {
  return page.evaluate(async () => {
    while (session.state !== "connected") {
      await new Promise((resolve) => {
        const stop = session.on("statechange", () => resolve(stop()));
      });
    }
    // The event follows the state.
    await session.ping();
    return told.splice(0);
  });
}

/** Waits for the end of the session; returns what `closed` resolved with. */
export function whenClosed(page) {
  return page.evaluate(() => session.closed);
}

/** Sends a request from `page` without waiting for its response, which {@link outcome} gives. */
export function send(page, path, request, options = {}) {
  return page.evaluate(
    ([path, request, options]) => {
      globalThis.sent = session.messaging.sendRequestToPath(path, request, options).then(
        (value) => ({ value }),
        ({ code, outcome }) => ({ code, outcome }),
      );
    },
    [path, request, options],
  );
}

/** The outcome of the request that was sent last. */
export function outcome(page) {
  return page.evaluate(() => sent);
}
