// The entry for the edge runtime of Vercel and Next.js: as `workerd.js`, but the bundler wants to be told that it is a module.

import module from "./antiphon_bg.wasm?module";
import { loadFrom } from "./load.js";

export * from "./client.js";

loadFrom(() => module);
