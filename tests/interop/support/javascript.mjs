// The official JavaScript client, in this process. It always names data types: those it would guess are not those that
// others expect (protocol.md, section 14, item 10).

import diffusion from "diffusion";
import { Queue } from "./queue.mjs";

// Refusals are what these tests are about; it would log each.
diffusion.log("silent");

/** Converts this client's values of each data type to JSON. */
const types = {
  json: { type: diffusion.datatypes.json(), read: (value) => bigints(value.get()) },
  string: { type: diffusion.datatypes.string(), read: (value) => value },
  int64: { type: diffusion.datatypes.int64(), read: (value) => BigInt(String(value)), write: (value) => String(value) },
  double: { type: diffusion.datatypes.double(), read: Number },
  binary: { type: diffusion.datatypes.binary(), read: (value) => new Uint8Array(value.getArray()) },
};

/** Integers in json that are not safe arrive as objects, like those of int64. */
function bigints(value) {
  if (Array.isArray(value)) return value.map(bigints);
  if (value === null || typeof value !== "object") return value;
  if (typeof value.toNumber === "function") return BigInt(String(value));
  return Object.fromEntries(Object.entries(value).map(([key, member]) => [key, bigints(member)]));
}

const read = (type, value) => (value === null ? null : types[type].read(value));
const write = (type, value) => (value === null ? null : (types[type].write?.(value) ?? value));

/** Opens a session for a `Peer`. This client takes `host` and `port` instead of a URL. */
export function connectByJavaScript({ url, ...options }) {
  const { hostname: host, port } = new URL(url);
  return diffusion.connect({ host, port: Number(port), secure: false, ...options });
}

/** A function that carries out the commands of `peers.mjs`. */
export function performByJavaScript() {
  const sessions = new Map();
  const handlers = new Map();
  /** By request to a filter: its results. */
  const results = new Map();

  const messages = ({ session }) => sessions.get(session).messages;

  const commands = {
    async connect({ id, do: _, ...options }) {
      const session = await connectByJavaScript(options);
      sessions.set(id, session);
      return String(session.sessionId);
    },

    async handle({ id, session, path, type, action, properties }) {
      const arrivals = new Queue();
      const handler = {
        onRequest(request, { path, sessionId, properties }, responder) {
          const value = read(type, request);
          arrivals.put({ value, path, sender: String(sessionId), properties });
          answer(action, type, value, responder);
        },
        onError() {},
        onClose() {},
      };
      const registration = await messages({ session }).addRequestHandler(path, handler, properties, types[type].type);
      handlers.set(id, { registration, arrivals });
    },

    stream({ id, session, path, type, action }) {
      const arrivals = new Queue();
      const stream = {
        onRequest(path, request, responder) {
          const value = read(type, request);
          arrivals.put({ value, path });
          answer(action, type, value, responder);
        },
        onError() {},
        onClose() {},
      };
      const { type: named } = types[type];
      messages({ session }).setRequestStream(path, stream, named, named);
      const registration = { close: () => void messages({ session }).removeRequestStream(path) };
      handlers.set(id, { registration, arrivals });
    },

    arrival: ({ handler }) => handlers.get(handler).arrivals.take(),
    unhandle: ({ handler }) => handlers.get(handler).registration.close(),

    async sendToPath({ session, path, type, value }) {
      const { type: named } = types[type];
      return read(type, await messages({ session }).sendRequest(path, write(type, value), named, named));
    },

    async sendToSession({ session, path, to, type, value }) {
      const { type: named } = types[type];
      return read(type, await messages({ session }).sendRequest(path, write(type, value), to, named, named));
    },

    sendToFilter({ id, session, filter, path, type, value }) {
      const arrived = new Queue();
      results.set(id, arrived);
      const callbacks = {
        onResponse: (session, response) => arrived.put({ session: String(session), value: read(type, response) }),
        onResponseError: (session, error) => arrived.put({ session: String(session), error: details(error) }),
      };
      const { type: named } = types[type];
      return messages({ session }).sendRequestToFilter(filter, path, write(type, value), callbacks, named, named);
    },

    result: ({ request }) => results.get(request).take(),

    ping: async ({ session }) => (await sessions.get(session).pingServer()).rtt,
    async close({ session }) {
      const open = sessions.get(session);
      // Of a session that is closed already, this promise would never settle.
      if (!open.isClosed()) await open.closeSession();
    },
  };

  return async (command) => {
    try {
      return { ok: await commands[command.do](command) };
    } catch (error) {
      // It rejects with objects that are no errors: reasons for requests, reports for filters, close reasons for
      // connections.
      if (error instanceof Error) throw error;
      return { error: Array.isArray(error) ? reported(error) : details(error) };
    }
  };
}

/** Answers as `action` demands. */
function answer(action, type, value, responder) {
  if ("answer" in action) responder.respond(write(type, action.answer), types[type].type);
  else if ("reject" in action) responder.reject(action.reject);
  else if ("throw" in action) throw new Error(action.throw);
  else if (!("silence" in action)) responder.respond(write(type, value), types[type].type);
}

const details = ({ id: number, reason, message }) => ({ number, text: reason ?? message });

const reported = (reports) => ({
  text: reports.map(({ message }) => message).join("; "),
  places: reports.map(({ line, column }) => [line, column]),
});
