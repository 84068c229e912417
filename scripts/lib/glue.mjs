// Makes of the generated glue what the package needs: a function that makes one set of bindings for each instance, so
// that an instance that has trapped can be replaced; and shorter, since much of what is generated is the same over again.

/**
 * The glue as a module that exports `bindings(guard)`. It gives the imports of an instance, and `start(instance)`, which
 * returns a function that makes a client, an object whose methods are the functions of `src/client.rs`, without the number
 * of the client. `guard` is given each function that begins something in the instance, and returns what is called instead.
 */
export function asFunction(glue) {
  const end = glue.indexOf("let wasmModule, wasmInstance, wasm;");
  const imports = glue.indexOf("function __wbg_get_imports() {");
  must(end > imports && imports > 0 && !/^(import|class) /m.test(glue));
  const rest = [...REPLACED].reduce(
    (code, [from, to]) => {
      must(from.test(code));
      return code.replace(from, to);
    },
    glue.slice(imports, end),
  );
  const { made, methods } = calls(glue.slice(0, imports));
  return `import { TextEncoder } from "./host.js";
import { textAt } from "./value-reader.js";

export function bindings(guard) {
let wasm;
${rest}
${PASSED}
return {
  imports: __wbg_get_imports(),
  start(instance) {
    wasm = instance.exports;
    wasm.__wbindgen_start();
    return ${made};
  },
};
function client(number) {
  const methods = Object.entries({
${methods.alike.join("\n")}
  }).map(([name, run]) => [name, guard((...args) => run(number, ...passed(args)))]);
  return {
    ...Object.fromEntries(methods),
${methods.other.join("\n")}
  };
}
}
`;
}

/** What is done with all arguments that tell by their kind how they are passed. */
const PASSED = `
function passed(args) {
  const all = [];
  for (const arg of args) {
    if (typeof arg === "string") all.push(passString(arg), WASM_VECTOR_LEN);
    else if (ArrayBuffer.isView(arg)) all.push(passArray8ToWasm0(arg), WASM_VECTOR_LEN);
    else all.push(arg);
  }
  return all;
}
function passString(text) {
  const { length } = text;
  let any = 0;
  for (let i = 0; i < length; i++) any |= text.charCodeAt(i);
  if (any > 127) return passArray8ToWasm0(cachedTextEncoder.encode(text));
  const ptr = wasm.__wbindgen_malloc(length, 1) >>> 0;
  const memory = getUint8ArrayMemory0();
  for (let i = 0; i < length; i++) memory[ptr + i] = text.charCodeAt(i);
  WASM_VECTOR_LEN = length;
  return ptr;
}`;

const THROW = / +__wbg___wbindgen_throw_\w+: .*\n.*\n +\},\n/;

/** The glue for a module that was shrunk: it traps where it would throw (shrink.mjs). */
export function withoutThrow(glue) {
  must(THROW.test(glue));
  return glue.replace(THROW, "");
}

/** Passing a text; `realloc` is for where a text is encoded in place. */
const STRING = /passStringToWasm0\((\w+), wasm\.__wbindgen_malloc, wasm\.__wbindgen_realloc\)/g;

/** What stands for what the generator writes for platforms that we do not run on, or takes more words for than we need. */
const REPLACED = new Map([
  // A timer may ring after the instance has failed.
  [/(const real = )(\(\.\.\.args\) => \{[\s\S]*?\n {4}\})(;\n {4}real\._wbg)/, "$1guard($2)$3"],
  // The Rust of the client has all its closures until it drops them.
  [/const CLOSURE_DTORS = .*\n.*\n.*;\n/, ""],
  [/ *CLOSURE_DTORS\.(un)?register\(.*\);\n/g, ""],
  [/function passStringToWasm0\([\s\S]*?\n\}\n/, ""],
  [STRING, "passString($1)"],
  // TextDecoder and TextEncoder take longer for a short text than a loop.
  [
    /(function getStringFromWasm0\(ptr, len\) \{)[\s\S]*?\n\}\n/,
    "$1 return textAt(getUint8ArrayMemory0(), ptr >>> 0, len); }\n",
  ],
  [/let cachedTextDecoder[\s\S]*?\nfunction decodeText[\s\S]*?\n\}\n/, ""],
  [/(function passArray8ToWasm0\(arg), malloc(\) \{\s*const ptr = )malloc/, "$1$2wasm.__wbindgen_malloc"],
  [/: function\(([\w, ]*)\) \{$/gm, ": ($1) => {"],
  [/Uint8Array\.prototype\.set\.call\((.*), (\w+)\);/, "$1.set($2);"],
  // It is asked of what is not a proxy.
  [/let result;\s*try \{\s*(result = .*;)\s*\} catch .*\{[^}]*\}/, "const $1"],
  // The size of an element.
  [/\b(ptr|arg\.length) [/*] 1\b/g, "$1"],
  // A text that is returned: where it is, and its length.
  [
    /getDataViewMemory0\(\)\.setInt32\(\(arg0 >>> 0\) \+ 4 \* 1, (\w+), true\);\n.*setInt32\(.* 0, (\w+), true\);/g,
    "new Int32Array(wasm.memory.buffer, arg0 >>> 0).set([$2, $1]);",
  ],
]);

/**
 * The functions that take a client, as members of an object. Those of which each argument shows by its kind how it is passed
 * are `alike`: named with the function of the instance that they call. The `other` ones are functions of their own; `made`
 * is the one that makes a client.
 */
function calls(text) {
  const methods = { alike: [], other: [] };
  let made;
  let docAt = 0;
  for (const method of text.matchAll(/^export function (\w+)\((.*)\) \{\n([\s\S]*?)^\}\n/gm)) {
    const [all, name, parameters, body] = method;
    const doc = text.slice(docAt, method.index);
    docAt = method.index + all.length;
    const [, run, list] = /(wasm\.\w+)\((.*)\);/.exec(body.replace(/^.*\{ wasm\..*\}$/gm, "")) ?? [];
    must(run);
    // Each written where it is passed: the length of a text or of bytes follows it, and is that of the last one.
    const values = new Map([...body.matchAll(/(\w+) = \+?(.+);$/gm)].map(([, name, value]) => [name, value]));
    const passed = list.replace(/\b(val|ptr|len)\d+\b/g, (name) => values.get(name)).replace(STRING, "passString($1)");
    if (name === "create") made = `(${parameters}) => client(guard(() => ${run}(${passed}))())`;
    else if (passed === byKind(doc).join(", ")) methods.alike.push(`    ${name}: ${run},`);
    else {
      const [call, others] = [passed.replace(/^client\b/, "number"), parameters.replace(/^client, /, "")];
      methods.other.push(`    ${name}: guard((${others}) => ${run}(${call})),`);
    }
  }
  must(made && methods.alike.length > 0);
  return { made, methods };
}

/** How the parameters in the comment of a method are passed if their kinds decide. */
function byKind(doc) {
  const parameters = [...doc.matchAll(/@param \{(.*)\} (\w+)/g)];
  return parameters.map(([, type, name]) => {
    if (type === "string") return `passString(${name}), WASM_VECTOR_LEN`;
    if (type === "Uint8Array | number[]") return `passArray8ToWasm0(${name}, wasm.__wbindgen_malloc), WASM_VECTOR_LEN`;
    return /^(number|boolean|Array<any>)$/.test(type) ? name : `${name} of any kind`;
  });
}

function must(isSo) {
  if (!isSo) throw new Error("the generated glue is not what it was; see scripts/lib/glue.mjs");
}
