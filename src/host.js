// What platforms have, and test environments that imitate one may lack: jsdom under Jest, for example, has no TextEncoder.
// Where that is so, Node.js is around it, and has it.

/** A module of Node.js; undefined elsewhere. */
export function nodeModule(name) {
  return globalThis.process?.getBuiltinModule?.(name);
}

export const { TextDecoder, TextEncoder } = globalThis.TextEncoder ? globalThis : (nodeModule("util") ?? {});
