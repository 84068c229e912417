// What the tests of messaging share: brokers, scripted peers, and the errors of the broker.

import { after } from "node:test";
import { startBroker } from "../../support/broker.mjs";
import { connectPeer } from "../support/endpoint.mjs";

export const broker = await startBroker();
export const impatient = await startBroker(["--request-timeout", "100ms", "--request-timeout-for", "patient=1h"]);
after(() => Promise.all([broker.stop(), impatient.stop()]));

export const unhandled = { code: "UNHANDLED_MESSAGE", reason: 109, outcome: "refused" };
export const closedHandler = { code: "SESSION_CLOSED", reason: 101, outcome: "unknown" };

export async function peerAt(t, at, given) {
  const peer = await connectPeer(at, given);
  t.after(() => peer.close());
  return peer;
}
