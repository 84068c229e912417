// What one who means harm does to a broker. Each attack resolves when it has done its work; what it holds open stays so
// until `end`.

import { setTimeout as sleep } from "node:timers/promises";
import {
  DELIVERY,
  frame,
  join,
  list,
  REGISTER,
  REQUEST,
  SEND_TO_FILTER,
  SEND_TO_PATH,
  SEND_TO_SESSION,
  sessionId,
  string,
  USER_PING,
  value,
  varint,
} from "../../tests/support/wire.mjs";
import { BINARY, CONTINUATION, openRaw, PING, rawFrame, rawHead } from "./client.mjs";

const MIB = 1 << 20;

/** A service request. */
const request = (service, conversation, body) => frame({ type: REQUEST, service, conversation, body });
const open = (broker, count, options) => Promise.all(Array.from({ length: count }, () => openRaw(broker, options)));

/** What is done in parts takes as long as this. */
async function during(seconds, act) {
  const end = performance.now() + seconds * 1000;
  for (let round = 0; performance.now() < end; round += 1) await act(round);
}

export const attacks = {
  /** Readers that stop, each of whom is sent 30 MiB by somebody else, with a pause in ms after each. */
  async stopped({ broker, held, count = 20, size = 30, pause = 0 }) {
    const senders = await open(broker, count);
    const readers = await open(broker, count, { reads: false });
    held.push(...readers, ...senders);
    await Promise.all(
      readers.map(async ({ id }, at) => {
        for (let part = 0; part < size; part += 1) {
          const body = join(sessionId(id), string("a"), value("binary", Buffer.alloc(MIB)));
          await senders[at].send(request(SEND_TO_SESSION, part + 1, body));
          if (pause > 0) await sleep(pause * 2 * Math.random());
        }
      }),
    );
  },

  /** The same with readers that read 1 KiB a second. */
  async slow({ count = 100, ...context }) {
    await attacks.stopped({ count, size: 20, pause: context.seconds * 25, ...context });
    const readers = context.held.slice(0, count);
    await during(context.seconds, async () => {
      for (const { socket } of readers) if (!socket.destroyed) socket.read(1024);
      await sleep(1000);
    });
  },

  /** WebSocket pings from a client that does not read. */
  async pings({ broker, held, seconds }) {
    const [client] = await open(broker, 1, { reads: false });
    held.push(client);
    const pings = Buffer.concat(Array(1000).fill(rawFrame(PING, Buffer.alloc(125))));
    await during(seconds, () => Promise.race([client.write(pings), sleep(100)]));
  },

  /** Pings of the protocol from a client that does not read. */
  async requests({ broker, held, seconds, count = 4 }) {
    const clients = await open(broker, count, { reads: false });
    held.push(...clients);
    let conversation = 0;
    await during(seconds, async () => {
      const pings = Array.from({ length: 1000 }, () => rawFrame(BINARY, request(USER_PING, ++conversation)));
      const bytes = Buffer.concat(pings);
      await Promise.race([Promise.all(clients.map((client) => client.write(bytes))), sleep(100)]);
    });
  },

  /** Messages of 31 MiB one after the other on many connections. */
  async large({ broker, held, seconds, count = 64 }) {
    const clients = await open(broker, count);
    held.push(...clients);
    const body = join(string("nobody"), value("binary", Buffer.alloc(31 * MIB)));
    const message = rawFrame(BINARY, request(SEND_TO_PATH, 1, body));
    await Promise.race([
      during(seconds, () => Promise.all(clients.map((client) => client.write(message)))),
      sleep(seconds * 1000),
    ]);
  },

  /** 31 MiB of a message on each of many connections, and then silence. */
  async unfinished({ broker, held, count = 64 }) {
    const clients = await open(broker, count);
    held.push(...clients);
    const part = Buffer.alloc(MIB);
    await Promise.all(
      clients.map(async (client) => {
        for (let at = 0; at < 31; at += 1) {
          await client.write(rawFrame(at === 0 ? BINARY : CONTINUATION, part, { isLast: false }));
        }
      }),
    );
  },

  /** Sockets whose credentials are wrong, each of which sends 16 MiB. */
  async strangers({ broker, held, count = 1000 }) {
    const part = Buffer.alloc(MIB);
    const query = { username: "stranger" };
    const writes = [];
    while (held.length < count) {
      const some = await Promise.all(
        Array.from({ length: Math.min(50, count - held.length) }, () => openRaw(broker, { query })),
      );
      held.push(...some);
      // All at the same time: none waits for the others' ends.
      for (const client of some) {
        const write = async () => {
          await client.write(rawHead(BINARY, 16 * MIB));
          for (let sent = 0; sent < 16; sent += 1) await client.write(part);
        };
        writes.push(write());
      }
    }
    await Promise.all(writes);
  },

  /** A frame that says it has 2^63 - 1 bytes, on many connections. */
  async declared({ broker, held, count = 100 }) {
    const clients = await open(broker, count);
    held.push(...clients);
    const head = Buffer.from([0x82, 0xff, 0x7f, ...Array(7).fill(0xff), 0, 0, 0, 0]);
    await Promise.all(clients.map((client) => client.write(head)));
  },

  /** Requests at full speed from a client that reads no answer, to a handler that does the same. */
  async flood({ broker, held, seconds }) {
    const [handler, client] = await open(broker, 2, { reads: false });
    held.push(handler, client);
    const registration = join(varint(DELIVERY), string(""), string("flood"), list([]), varint(1));
    await handler.send(request(REGISTER, 1, registration));
    let conversation = 0;
    const body = join(string("flood"), value("binary", Buffer.alloc(16)));
    await during(seconds, async () => {
      const bytes = Buffer.concat(
        Array.from({ length: 1000 }, () => rawFrame(BINARY, request(SEND_TO_PATH, ++conversation, body))),
      );
      await Promise.race([client.write(bytes), sleep(100)]);
    });
  },

  /** Sessions opened and dropped at full speed. */
  async sessions({ broker, seconds }) {
    await during(seconds, async () => {
      for (const client of await open(broker, 20)) client.cut();
    });
  },

  /** Large requests to everybody, one after the other, of whom many do not read. */
  async everybody({ broker, held, seconds, count = 100 }) {
    const [sender] = await open(broker, 1);
    held.push(sender, ...(await open(broker, count, { reads: false })));
    const bytes = Buffer.alloc(512 << 10);
    await during(seconds, async (round) => {
      const body = join(varint(round + 1), string("all"), string("a"), value("binary", bytes));
      await sender.send(request(SEND_TO_FILTER, round + 1, body));
      await sleep(20);
    });
  },
};
