// Our client in a page: carries out the commands of `support/peers.mjs`.

import { connect, RejectedRequestError } from "antiphon";

const sessions = new Map();
const handlers = new Map();

const commands = {
  async connect({ id, url, ...options }) {
    const session = await connect(url, options);
    sessions.set(id, session);
    return session.id;
  },

  async handle({ id, session, path, type, action, properties }) {
    const arrivals = queue();
    const answer = (value, { path, senderSessionId, sessionProperties }) => {
      arrivals.put({ value, path, sender: senderSessionId, properties: sessionProperties });
      if ("answer" in action) return action.answer;
      if ("reject" in action) throw new RejectedRequestError(action.reject);
      if ("throw" in action) throw new Error(action.throw);
      if ("silence" in action) return new Promise(() => {});
      return value;
    };
    const options = { requestType: type, responseType: type, sessionProperties: properties };
    const registration = await sessions.get(session).messaging.addRequestHandler(path, answer, options);
    handlers.set(id, { registration, arrivals });
  },

  arrival: ({ handler }) => handlers.get(handler).arrivals.take(),
  unhandle: ({ handler }) => handlers.get(handler).registration.close(),

  send: ({ session, path, type, value }) => sessions.get(session).messaging.sendRequestToPath(path, value, { type }),

  ping: ({ session }) => sessions.get(session).ping(),
  close: ({ session }) => sessions.get(session).close(),
};

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
    // Errors do not keep their members on the way out of a page.
    const { code: type, reason: number, outcome, retryable, message: text } = error;
    return { error: { type, number, outcome, retryable, text } };
  }
};
