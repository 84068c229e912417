// NATS for a service in Node.js, over TCP.

import { connect as open } from "@nats-io/transport-node";
import { clientOf } from "./nats.js";

export const connect = async (_url, { tcp }) => clientOf(await open({ servers: tcp }));
