// Makes of the generated glue what the package needs: a function that makes one set of bindings for each instance, so
// that an instance that has trapped can be replaced.

/**
 * The glue as a module that exports `bindings(guard)`. It gives the imports of an instance, and `start(instance)`, which
 * returns a function that makes a `Client`. `guard` is given the exports of the instance, and returns those that are used.
 */
export function asFunction(glue) {
  const end = glue.indexOf("let wasmModule, wasmInstance, wasm;");
  if (end < 0 || /^import /m.test(glue))
    throw new Error("the generated glue is not what it was; see scripts/lib/glue.mjs");
  const body = UNUSED.reduce((code, text) => code.replaceAll(text, ""), glue.slice(0, end).replace(/^export /gm, ""));
  return `import { TextDecoder, TextEncoder } from "./host.js";

export function bindings(guard) {
let wasm;
${body}
return {
  imports: __wbg_get_imports(),
  start(instance) {
    wasm = instance.exports;
    wasm.__wbindgen_start();
    wasm = guard(wasm);
    return (...args) => new Client(...args);
  },
};
}
`;
}

/** What the generator adds for platforms that we do not run on, and for those who dispose of a client, which nobody has. */
const UNUSED = [
  /\(typeof FinalizationRegistry === 'undefined'\)\n\s*\? \{.*\n\s*: /g,
  "if (Symbol.dispose) Client.prototype[Symbol.dispose] = Client.prototype.free;\n",
];
