// A Node.js process of the benchmark: many handlers, requesters, or clients that do nothing. It is told what to do by the
// process that has started it (lib/peers.mjs).

import { WebSocket } from "ws";
import { Driver } from "./page/driver.js";

// Some versions of Node.js have one of their own, which is slower.
globalThis.WebSocket = WebSocket;
const [file] = process.argv.slice(2);
const client = await import(file);
const drivers = [];

/** Opens `count` clients, `width` at a time. */
async function open(count, width, { server, session, prepare = () => {}, optionsOf }) {
  const first = drivers.length;
  let next = first;
  const openSome = async () => {
    while (next < first + count) {
      const index = next++;
      const driver = await Driver.open(client, server.url, { ...server, session, ...optionsOf(index) });
      await prepare(driver, index);
      drivers.push(driver);
    }
  };
  await Promise.all(Array.from({ length: width }, openSome));
}

const commands = {
  /** Handlers of one path. */
  many: ({ server, session, count, path, channel }) =>
    open(count, 20, {
      server,
      session,
      optionsOf: () => ({ role: "handler", channel }),
      prepare: (driver) => driver.echoAmongMany(path),
    }),
  /** A handler for each of so many paths. */
  handlers: ({ server, session, count, path }) =>
    open(count, 20, {
      server,
      session,
      optionsOf: (index) => ({ role: "handler", channel: `load-${index}` }),
      prepare: (driver, index) => driver.echo(`${path}/${index}`),
    }),
  requesters: ({ server, session, count }) =>
    open(count, 20, { server, session, optionsOf: (index) => ({ role: "requester", channel: `load-${index}` }) }),
  /** Clients that do nothing. */
  idle: ({ server, session, count }) =>
    open(count, 50, { server, session, optionsOf: (index) => ({ role: "handler", channel: `idle-${index}` }) }),
  async leave() {
    await Promise.all(drivers.splice(0).map((driver) => driver.close()));
  },
  /** Every client registers `count` handlers. */
  async register({ path, count }) {
    const paths = Array.from({ length: count }, (_, index) => `${path}/${index}`);
    await Promise.all(drivers.map((driver) => Promise.all(paths.map((path) => driver.echo(path)))));
  },
  /** Every second client has so many requests outstanding, for one that does not answer. */
  async hold({ path, ...plan }) {
    const half = drivers.length / 2;
    const pairs = drivers.slice(0, half).map((driver, index) => [driver, drivers[index + half], `${path}/${index}`]);
    await Promise.all(pairs.map(([holder, _asker, path]) => holder.hold(path)));
    await Promise.all(pairs.map(([_holder, asker, path]) => asker.askAndLeave({ ...plan, path })));
  },
  /** Every requester asks a handler of its own. */
  async load({ path, ...plan }) {
    const results = await Promise.all(
      drivers.map((driver, index) => driver.piped({ ...plan, path: `${path}/${index}` })),
    );
    const sum = (key) => results.reduce((total, result) => total + result[key], 0);
    return { rate: sum("rate"), total: sum("total"), wrong: sum("wrong") };
  },
};

process.on("message", async ({ command, given }) => {
  try {
    process.send({ result: (await commands[command](given)) ?? null });
  } catch (error) {
    process.send({ error: String(error?.stack ?? error) });
  }
});
process.on("disconnect", () => process.exit());
process.send({ result: "ready" });
