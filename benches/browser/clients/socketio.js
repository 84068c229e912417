// socket.io: a request is emitted to the server with an acknowledgement, and the server does the same to the handler.

import { io } from "socket.io-client";

export function connect(url) {
  return new Promise((resolve, reject) => {
    const options = { transports: ["websocket"], forceNew: true, reconnection: false };
    const socket = io(url.replace("ws:", "http:"), options);
    socket.on("connect_error", reject);
    socket.on("connect", () =>
      resolve({
        handle: async (path, answer) => {
          socket.on("request", (_path, value, respond) => respond(answer(value)));
          await socket.emitWithAck("handle", path);
        },
        request: (path, value) => socket.emitWithAck("request", path, value),
        requestMany: (path, value) => socket.emitWithAck("requestMany", path, value),
        close: () => socket.disconnect(),
      }),
    );
  });
}
