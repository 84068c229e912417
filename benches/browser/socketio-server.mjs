// The server of the socket.io system: passes requests on to the socket that handles their path, with acknowledgements.

import { createServer } from "node:http";
import { load } from "./lib/setup.mjs";

const { Server } = load("socket.io");
const http = createServer();
const server = new Server(http, { cors: { origin: "*" }, transports: ["websocket"], maxHttpBufferSize: 1e7 });
const handlers = new Map();

server.on("connection", (socket) => {
  socket.on("handle", (path, acknowledge) => {
    if (!handlers.has(path)) handlers.set(path, socket);
    socket.join(path);
    socket.on("disconnect", () => {
      if (handlers.get(path) === socket) handlers.delete(path);
    });
    acknowledge();
  });
  socket.on("request", async (path, value, respond) =>
    respond(await handlers.get(path).emitWithAck("request", path, value)),
  );
  socket.on("requestMany", (path, value, respond) => {
    const room = server.to(path).timeout(30_000);
    room.emit("request", path, value, (_error, responses) => respond(responses));
  });
});
http.listen(0, "127.0.0.1", () => console.log(`listening on ws://127.0.0.1:${http.address().port}`));
