// The official client, the whole file that its package has for browsers.

import diffusion from "diffusion/dist/diffusion.js";
import { connector } from "./diffusion-connector.js";

export const connect = connector(diffusion);
