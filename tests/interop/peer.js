// Our client in a page: carries out the commands of `support/peers.mjs`.

import { connect, RejectedRequestError } from "antiphon";

const sessions = new Map();
const handlers = new Map();
/** By request to a filter: its results. */
const results = new Map();

const messaging = ({ session }) => sessions.get(session).messaging;

const commands = {
  async connect({ do: _, id, url, ...options }) {
    const session = await connect(url, options);
    sessions.set(id, session);
    return session.id;
  },

  async handle({ id, session, path, type, action, properties }) {
    const arrivals = queue();
    const options = { requestType: type, responseType: type, sessionProperties: properties };
    const answer = answering(action, arrivals);
    const registration = await messaging({ session }).addRequestHandler(path, answer, options);
    handlers.set(id, { registration, arrivals });
  },

  stream({ id, session, path, type, action }) {
    const arrivals = queue();
    const options = { addressed: true, requestType: type, responseType: type };
    const registration = messaging({ session }).addStreamHandler(path, answering(action, arrivals), options);
    handlers.set(id, { registration, arrivals });
  },

  arrival: ({ handler }) => handlers.get(handler).arrivals.take(),
  unhandle: ({ handler }) => handlers.get(handler).registration.close(),

  sendToPath: ({ session, path, type, value }) => messaging({ session }).sendRequestToPath(path, value, { type }),

  sendToSession: ({ session, path, to, type, value }) =>
    messaging({ session }).sendRequestToSession(path, to, value, { type }),

  sendToFilter({ id, session, filter, path, type, value }) {
    const arrived = queue();
    results.set(id, arrived);
    const onResponse = ({ sessionId, value, error, received, expected }) => {
      const outcome = error ? { error: details(error) } : { value };
      arrived.put({ session: sessionId, received, expected, ...outcome });
    };
    return messaging({ session }).sendRequestToFilter(filter, path, value, { type, onResponse });
  },

  result: ({ request }) => results.get(request).take(),

  ping: ({ session }) => sessions.get(session).ping(),
  close: ({ session }) => sessions.get(session).close(),
};

/** A handler that does what `action` says. */
function answering(action, arrivals) {
  return (value, { path, senderSessionId: sender, sessionProperties: properties }) => {
    // Of an addressed request there is no sender to be told.
    arrivals.put(sender ? { value, path, sender, properties } : { value, path });
    if ("answer" in action) return action.answer;
    if ("reject" in action) throw new RejectedRequestError(action.reject);
    if ("throw" in action) throw new Error(action.throw);
    if ("silence" in action) return new Promise(() => {});
    return value;
  };
}

/** Errors do not keep their members on the way out of a page. */
function details({ code: type, reason: number, outcome, retryable, message: text, errors }) {
  const places = errors?.map(({ line, column }) => [line, column]);
  return { type, number, outcome, retryable, text, places };
}

/** What went in comes out in order; taking waits. */
function queue() {
  const items = [];
  const takers = [];
  return {
    put(item) {
      const taker = takers.shift();
      if (taker) taker(item);
      else items.push(item);
    },
    take: () => (items.length > 0 ? items.shift() : new Promise((resolve) => takers.push(resolve))),
  };
}

globalThis.perform = async (command) => {
  try {
    return { ok: await commands[command.do](command) };
  } catch (error) {
    return { error: details(error) };
  }
};
