// What tests need of the crates: arguments of cargo.

export const WASM = ["--target", "wasm32-unknown-unknown"];

/**
 * The crates that run natively, but for the tools. All are selected, whichever is wanted: cargo chooses the features of what
 * they depend on for all that is selected, and where these differ it compiles again.
 */
export const NATIVE = ["--workspace", "--exclude", "antiphon", "--exclude", "antiphon-tools"];

/** Programs that only tests use; not optimised. */
export const faults = ["build", ...NATIVE, "--bin", "antiphon-faults"];
export const echo = ["build", ...NATIVE, "--features", "antiphon-broker/echo", "--example", "echo"];
export const example = ["build", ...NATIVE, "--bin", "antiphon-example"];
export const examplePage = ["build", ...WASM, "-p", "antiphon-example"];
/** The client, with the texts of panics. */
export const debugClient = ["build", ...WASM, "-p", "antiphon"];
/** Its tests in a browser. */
export const browserTests = ["test", ...WASM, "-p", "antiphon", "--test", "browser"];
