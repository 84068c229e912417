// A TCP relay that treats connections as networks do: it cuts, refuses or stalls them, and knows nothing of what they
// carry.

import { once } from "node:events";
import { connect, createServer } from "node:net";

/** Starts a relay in front of `broker`; `url` and `httpUrl` are for its clients. */
export async function startCutter(broker) {
  let { port } = broker;
  let mode = "open";
  let accepted = 0;
  const links = new Set();

  const server = createServer((near) => {
    accepted += 1;
    if (mode === "shut") return near.on("error", () => {}).resetAndDestroy();
    const far = connect({ port, host: "127.0.0.1" });
    const link = [near, far];
    links.add(link);
    for (const [from, to] of [link, [far, near]]) {
      from.setNoDelay();
      from.on("data", (bytes) => to.write(bytes));
      from.on("end", () => to.end());
      from.on("error", () => {}); // its end says enough
      from.on("close", () => {
        links.delete(link);
        to.destroy();
      });
      if (mode === "frozen") from.pause();
    }
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = `127.0.0.1:${server.address().port}`;

  const each = (act) => {
    for (const link of links) for (const socket of link) act(socket);
  };
  const cut = () => each((socket) => socket.resetAndDestroy());
  return {
    url: `ws://${address}/diffusion`,
    httpUrl: `http://${address}/`,
    port: server.address().port,
    /** How many connections clients have made or tried. */
    accepted: () => accepted,
    /** Resets every connection; new ones are carried. */
    cut,
    /** Resets every connection, and every new one. */
    shut() {
      mode = "shut";
      cut();
    },
    /** Carries nothing any more and tells nobody: a link that is half open. New connections are like that as well. */
    freeze() {
      mode = "frozen";
      each((socket) => socket.pause());
    },
    /** Carries everything again, what was held back first. */
    open() {
      mode = "open";
      each((socket) => socket.resume());
    },
    /** New connections go to another broker. */
    leadTo(other) {
      port = other.port;
    },
    async stop() {
      cut();
      server.close();
      await once(server, "close");
    },
  };
}
