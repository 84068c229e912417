// What the tests of features share: a broker, and scripted servers that grant features to our client.

import {
  BATCHING,
  BUSY,
  CANCELLING,
  DEADLINES,
  DETAILS,
  DISCOVERY,
  IDEMPOTENCY,
  METADATA,
  RENEWAL,
  readBatch,
  readFrame,
  UNACKNOWLEDGED,
} from "../../support/wire.mjs";
import { broker, scripted } from "../reconnection/support.mjs";
import { open } from "../support/client.mjs";
import { connectPeer } from "../support/endpoint.mjs";

export const ALL =
  BATCHING | DEADLINES | CANCELLING | BUSY | IDEMPOTENCY | METADATA | DETAILS | DISCOVERY | UNACKNOWLEDGED | RENEWAL;

/** Our client at a scripted server, with the connection as the server has it. */
export async function openScripted(t, response, given) {
  const server = await scripted(t, ...[response].flat());
  const session = await open(t, server, given);
  return { server, session, connection: await server.connection(0) };
}

/** A scripted client of our broker, which offers features. */
export async function peerWith(t, features, { query, ...given } = {}) {
  const peer = await connectPeer(broker, { ...given, query: { r: 60_000, antiphon: features, ...query } });
  t.after(() => peer.close());
  return peer;
}

/** How many messages each WebSocket message has that came on a connection. */
export const sizesOf = ({ frames }) => frames.map((frame) => readBatch(frame).length);

/** All messages that came on a connection, in order. */
export const messagesOf = ({ frames }) => frames.flatMap((frame) => readBatch(frame).map(readFrame));
