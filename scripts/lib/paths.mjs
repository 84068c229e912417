// Paths in this repository. Everything built goes under `build/`, `dist/` and cargo's target folder, which git ignores.

import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";

export const root = resolve(dirname(fileURLToPath(import.meta.url)), "../..");
export const fromRoot = (...parts) => join(root, ...parts);

/** Cargo's target folder. */
export const target = resolve(root, process.env.CARGO_TARGET_DIR ?? "target");

export const broker = join(target, "release", "antiphon-broker");
export const faults = join(target, "debug", "antiphon-faults");
/** Attackers on a broker: optimised where their effect is measured. */
export const attacks = join(target, process.env.ANTIPHON_LOAD === "long" ? "release" : "debug", "antiphon-attacks");
export const wasmBindgen = join(target, "tools", "wasm-bindgen");
export const wasmTestRunner = join(target, "tools", "wasm-bindgen-test-runner");

/** The npm package's files. */
export const dist = fromRoot("dist");
/** What the broker serves: the page and the package. */
export const site = fromRoot("build", "site");
/** The interpreter of the virtual environment that has the official Python client. */
export const python = fromRoot("build", "venv", "bin", "python");
