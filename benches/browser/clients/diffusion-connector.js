// The official client, of whichever file.

export function connector(diffusion) {
  const json = diffusion.datatypes.json();
  return async (url) => {
    const { hostname, port, pathname } = new URL(url);
    const session = await diffusion.connect({
      host: hostname,
      port: Number(port),
      path: pathname,
      secure: false,
      principal: "admin",
      credentials: "password",
      transports: "WS",
      maxMessageSize: 2 ** 26,
    });
    const handlerOf = (answer) => ({
      onRequest: (request, _context, responder) => responder.respond(json.from(answer(request.get()))),
      onError() {},
      onClose() {},
    });
    return {
      handle: (path, answer) => session.messages.addRequestHandler(path, handlerOf(answer), [], json),
      // A stream is given the same arguments, the path in place of the first.
      handleAmongMany: async (path, answer) => {
        const { onRequest } = handlerOf(answer);
        const stream = {
          onRequest: (_path, ...rest) => onRequest(rest[0], undefined, rest[1]),
          onError() {},
          onClose() {},
        };
        session.messages.setRequestStream(path, stream, json, json);
      },
      request: async (path, value) => (await session.messages.sendRequest(path, json.from(value), json, json)).get(),
      requestMany: (path, value, count) =>
        new Promise((resolve, reject) => {
          const responses = [];
          const handler = {
            onResponse: (_id, response) => {
              if (responses.push(response.get()) === count) resolve(responses);
            },
            onResponseError() {}, // the session that asks matches too, and has no stream
            onError: reject,
            onClose() {},
          };
          session.messages.sendRequestToFilter("all", path, json.from(value), handler, json, json);
        }),
      close: () => session.closeSession(),
    };
  };
}
