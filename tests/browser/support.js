// What the tests need of JavaScript: an expression that `support.rs` evaluates. Not a module, and no modules of the client
// either, because the server of the test runner (tiny_http 0.12) can leave a connection waiting for ever once a page opens
// more than four at a time.
(() => {
  const PATIENCE = 10_000; // ms after which a promise counts as one that never settles

  /** What an expression is; `names` are the names it can use, `values` what they stand for. */
  function evaluate(expression, names, values) {
    return new Function(...names, `"use strict"; return (${expression}\n);`)(...values);
  }

  /** The promise, but it does settle. */
  function inTime(promise) {
    let timer;
    const late = new Promise((_, reject) => {
      timer = setTimeout(() => reject(new Error(`a promise did not settle within ${PATIENCE} ms`)), PATIENCE);
    });
    return Promise.race([promise, late]).finally(() => clearTimeout(timer));
  }

  /** A request handler that says when a request has arrived, and answers when it is told. */
  function gate() {
    let arrive;
    let answer;
    const arrived = new Promise((resolve) => {
      arrive = resolve;
    });
    const answered = new Promise((resolve) => {
      answer = resolve;
    });
    const handler = (request, context) => {
      arrive({ request, context });
      return answered;
    };
    return { arrived, answer, handler };
  }

  /** Whether two values are of the same type and hold the same; -0 is not 0, and NaN is NaN. */
  function same(a, b) {
    if (Object.is(a, b)) return true;
    if (!isObject(a) || !isObject(b) || Object.getPrototypeOf(a) !== Object.getPrototypeOf(b)) return false;
    const keys = Object.getOwnPropertyNames(a);
    const others = Object.getOwnPropertyNames(b);
    return keys.length === others.length && keys.every((key, index) => key === others[index] && same(a[key], b[key]));
  }

  /** A value for the message of a failed test. */
  function show(value) {
    if (value instanceof Error) return value.stack ?? String(value);
    if (typeof value === "string") return JSON.stringify(value);
    if (typeof value === "bigint") return `${value}n`;
    if (Object.is(value, -0)) return "-0";
    if (Array.isArray(value)) return `[${value.map(show).join(", ")}]`;
    if (value instanceof Uint8Array) return `bytes [${value.join(", ")}]`;
    if (!isObject(value)) return String(value);
    const members = Object.getOwnPropertyNames(value).map((key) => `${JSON.stringify(key)}: ${show(value[key])}`);
    return `{ ${members.join(", ")} }`;
  }

  function isObject(value) {
    return typeof value === "object" && value !== null;
  }

  /** Ends the run with one line: the runner waits for the words "test result" in this element. False if there is none. */
  function endRun(line) {
    const output = globalThis.document?.getElementById("output");
    if (!output) return false;
    output.textContent += `\n${line}\n\ntest result: FAILED. 0 passed; 1 failed; 0 ignored; 0 filtered out\n`;
    return true;
  }

  /**
   * The client's JavaScript as it stands in `src/`, without a server: modules in an order in which each comes after those
   * that it imports. Gives what they export, by file name.
   */
  function load(names, sources) {
    const modules = {};
    names.forEach((name, index) => {
      const exported = [];
      const body = sources[index]
        .replace(/^import (\{[^}]*\}) from "\.\/([\w-]+\.js)";$/gm, 'const $1 = modules["$2"];')
        .replace(/^export ((?:async )?(?:class|const|function) (\w+))/gm, (_, declaration, exportedName) => {
          exported.push(exportedName);
          return declaration;
        });
      modules[name] = new Function("modules", `"use strict"; ${body}\nreturn { ${exported.join(", ")} };`)(modules);
    });
    return modules;
  }

  return { load, evaluate, inTime, gate, same, show, endRun };
})();
