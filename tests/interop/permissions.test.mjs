// Each stock principal, with each client, can do what its roles allow, and nothing else (rules 6.3).

import assert from "node:assert/strict";
import { after, test } from "node:test";
import { refused } from "./support/assert.mjs";
import { control } from "./support/peers.mjs";
import { openWorld } from "./support/world.mjs";

const world = await openWorld();
after(world.close);

// What it takes (rules 6.1), and whether it may be done by each of the stock principals.
const needs = {
  toPath: "SEND_TO_MESSAGE_HANDLER",
  below: "SEND_TO_MESSAGE_HANDLER",
  toSession: "SEND_TO_SESSION",
  toFilter: "SEND_TO_SESSION",
  handle: "REGISTER_HANDLER",
  handleWithProperties: "REGISTER_HANDLER",
};
const everything = { toPath: true, below: false, toSession: true, toFilter: true, handle: true };
const requests = { toPath: true, below: false, toSession: false, toFilter: false, handle: false };
const may = {
  admin: { ...everything, handleWithProperties: true },
  control: { ...everything, handleWithProperties: true },
  client: { ...requests, handleWithProperties: false },
  // It may see sessions, but not register handlers that do.
  operator: { ...requests, handleWithProperties: false },
};

for (const peer of world.peers) {
  for (const [principal, granted] of Object.entries(may)) {
    test(`A-3 ${principal} can do what its roles allow with ${peer.name}, and nothing else`, async () => {
      const answerer = await peer.connect();
      const asker = await peer.connect({ ...control, principal });
      const path = `permissions/${peer.key}/${principal}`;
      await answerer.handle(path, "string", { echo: true });
      await answerer.stream(path, "string", { echo: true });
      const filter = `$SessionId is '${answerer.id}'`;
      const attempts = {
        toPath: () => asker.sendToPath(path, "string", "any"),
        below: () => asker.sendToPath(`Diffusion/${path}`, "string", "any"),
        toSession: () => asker.sendToSession(path, answerer.id, "string", "any"),
        toFilter: async () => (await (await asker.sendToFilter(filter, path, "string", "any")).results())[0].value,
        handle: () => asker.handle(`${path}/own`, "string", { echo: true }),
        handleWithProperties: () => asker.handle(`${path}/own/properties`, "string", { echo: true }, ["$Principal"]),
      };
      for (const [name, attempt] of Object.entries(attempts)) {
        if (!granted[name]) {
          await refused(peer, attempt(), "ACCESS_DENIED", needs[name]);
        } else if (name.startsWith("handle")) await attempt();
        else assert.equal(await attempt(), "any", name);
      }
      await Promise.all([asker.close(), answerer.close()]);
    });
  }
}
