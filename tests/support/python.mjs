// The Python interpreter that has the official client, in a virtual environment made by `npm run test:interop` (step
// "setup").

import { existsSync } from "node:fs";
import { python as path } from "../../scripts/lib/paths.mjs";

if (!existsSync(path)) throw new Error(`no ${path}: npm run test:interop makes it`);

/** Path of the interpreter, for `spawn(python, ["script.py"])`. */
export const python = path;
