/**
 * The same as the entry `antiphon`, in one file that has the WebAssembly in it: for bundlers that know no
 * `new URL(…, import.meta.url)`, for code playgrounds, for workers, and wherever one file is easier to place than two.
 *
 * @module
 */

export * from "./index.js";
