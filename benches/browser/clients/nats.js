// NATS as its documentation shows it: the requests of nats-core, and a subscription with a callback that responds.

import { wsconnect } from "@nats-io/nats-core";

export const connect = async (url) => clientOf(await wsconnect({ servers: url }));

const subjectOf = (path) => path.replaceAll("/", ".");

export function clientOf(connection) {
  return {
    handle: async (path, answer) => {
      const callback = (_error, message) => message.respond(JSON.stringify(answer(message.json())));
      connection.subscribe(subjectOf(path), { callback });
      await connection.flush();
    },
    request: async (path, value) =>
      (await connection.request(subjectOf(path), JSON.stringify(value), { timeout: 60_000 })).json(),
    requestMany: async (path, value, count) => {
      const responses = [];
      const options = { strategy: "count", maxMessages: count, maxWait: 30_000 };
      for await (const message of await connection.requestMany(subjectOf(path), JSON.stringify(value), options)) {
        responses.push(message.json());
      }
      return responses;
    },
    close: () => connection.close(),
  };
}
