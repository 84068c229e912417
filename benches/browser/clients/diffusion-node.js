// The official client for Node.js.

import diffusion from "diffusion";
import { connector } from "./diffusion-connector.js";

export const connect = connector(diffusion);
