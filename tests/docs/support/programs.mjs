// Turns the examples on a documentation page into programs.
//
// A block with an `import` starts a program, the blocks after it continue it. In a program's file every line has the
// number that it has on the page, so that messages of the platform about a line of the file apply to that line of the
// page.

import { mkdirSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import { pathToFileURL } from "node:url";
import { formatWithOptions } from "node:util";
import ts from "typescript";
import { WebSocket } from "ws";
import { fromRoot } from "../../../scripts/lib/paths.mjs";
import { connectPeer } from "../../rules/support/endpoint.mjs";
import { startBroker } from "../../support/broker.mjs";
import { CLOSE_CLIENT, readConnectionResponse, sessionId } from "../../support/wire.mjs";

const FOLDER = fromRoot("build", "docs"); // within the package, so that its name leads to it
const WS = new URL("ws.mjs", import.meta.url).href;
const RAN_OUT = Symbol();

process.setSourceMapsEnabled(true);

/**
 * @typedef {object} Program
 * @property {string} page e.g. `docs/values.md`
 * @property {number} line of the page, on which it begins
 * @property {"js" | "ts"} language
 * @property {string} text
 * @property {Map<number, string[]>} expected what it says that it prints, by the line of the call
 */

/**
 * The programs of a page: its blocks marked `js` and `ts`, without those that are also marked `nocheck`.
 *
 * @param {string} page its name
 * @param {string} markdown its content
 * @returns {Program[]}
 */
export function programsOf(page, markdown) {
  const lines = markdown.split("\n");
  const programs = [];
  for (const { language, first, last } of blocksOf(lines)) {
    const line = first + 1;
    if (lines.slice(first, last).some((text) => /^import\b/.test(text))) {
      programs.push({ page, line, language, lines: lines.map(() => "") });
    }
    const program = programs.at(-1);
    if (program?.language !== language) throw new Error(`${page}:${line}: this block needs an import`);
    for (let index = first; index < last; index++) program.lines[index] = lines[index];
  }
  return programs.map(programOf);
}

/** A program of these lines, which stand where they stand on the page. */
export function programOf({ lines, ...program }) {
  return { ...program, text: lines.join("\n"), expected: expected(lines) };
}

/** The blocks of a page, in any language, each with its text. */
export function blocksIn(markdown) {
  const lines = markdown.split("\n");
  return [...fencesOf(lines)].map(({ first, last, ...block }) => ({
    ...block,
    text: `${lines.slice(first, last).join("\n")}\n`,
  }));
}

/** The blocks that are programs, or parts of one. */
function* blocksOf(lines) {
  for (const block of fencesOf(lines)) {
    if (["js", "ts"].includes(block.language) && block.mark !== "nocheck") yield block;
  }
}

function* fencesOf(lines) {
  let open;
  for (const [index, line] of lines.entries()) {
    const fence = /^\s*```(\w*)\s*(.*)$/.exec(line);
    if (!fence) continue;
    if (open === undefined) {
      open = { language: fence[1], mark: fence[2], first: index + 1 };
    } else {
      yield { ...open, last: index };
      open = undefined;
    }
  }
}

/** The output that comments `// -> ...` announce: each belongs to the last `console.log` on its line or above. */
function expected(lines) {
  const found = new Map();
  let call;
  for (const [index, line] of lines.entries()) {
    if (line.includes("console.log(")) call = index + 1;
    const output = /\/\/ -> (.*)$/.exec(line)?.[1];
    if (output !== undefined) found.set(call, [...(found.get(call) ?? []), output]);
  }
  return found;
}

/**
 * Runs a program against a broker of its own, wherever it says that it connects to; unless it has started one itself.
 *
 * @param {Program} program
 * @param {number} limit ms that it may take until it has printed everything
 * @throws {Error} what it threw, or what is not as it says
 */
export async function run(program, limit = 10_000) {
  const broker = await startBroker();
  const { WebSocket: platforms } = globalThis;
  const { log } = console;
  const sockets = new Set();
  const sessions = new Set();
  const printed = new Map();
  let hasPrinted;

  globalThis.WebSocket = class extends WebSocket {
    constructor(address) {
      const url = new URL(address);
      const isItsOwn = url.hostname === "127.0.0.1" && url.port !== "8080";
      super(isItsOwn ? url : Object.assign(url, { protocol: "ws:", host: `127.0.0.1:${broker.port}` }));
      sockets.add(this);
      this.once("message", (bytes) => sessions.add(readConnectionResponse(Buffer.from(bytes)).id));
    }
  };
  const { name, url } = write(program, broker.port);
  console.log = (...values) => {
    const line = Number(new RegExp(`${name}\\.\\w+:(\\d+):`).exec(new Error().stack)?.[1]);
    const text = formatWithOptions({ breakLength: Number.POSITIVE_INFINITY }, ...values);
    printed.set(line, [...(printed.get(line) ?? []), text]);
    hasPrinted?.();
  };

  const deadline = AbortSignal.timeout(limit);
  const ranOut = new Promise((resolve) => deadline.addEventListener("abort", () => resolve(RAN_OUT)));
  try {
    if ((await Promise.race([import(url), ranOut])) === RAN_OUT) {
      throw new Error(`${program.page}:${program.line}: this program did not end within ${limit} ms`);
    }
    // What handlers print may come after the last statement.
    while (!deadline.aborted && isMissing(program.expected, printed)) {
      const more = new Promise((resolve) => {
        hasPrinted = resolve;
      });
      await Promise.race([more, ranOut]);
    }
  } finally {
    console.log = log;
    globalThis.WebSocket = platforms;
    // They would look for a successor of the broker otherwise.
    await endSessions(broker, sessions);
    await broker.stop();
    for (const socket of sockets) socket.terminate();
  }
  for (const [line, outputs] of program.expected) compare(program.page, line, outputs, printed.get(line) ?? []);
}

/** Ends those that are still open, as an operator does. */
async function endSessions(broker, ids) {
  const operator = await connectPeer(broker);
  for (const id of ids) if (id) await operator.ask(CLOSE_CLIENT, sessionId(id));
  await operator.close();
}

function isMissing(expected, printed) {
  return [...expected].some(([line, outputs]) => (printed.get(line)?.length ?? 0) < outputs.length);
}

function compare(page, line, expected, printed) {
  const matches = expected.length === printed.length && expected.every((text, i) => pattern(text).test(printed[i]));
  if (matches) return;
  throw new Error(
    `${page}:${line}: it says that it prints\n${expected.join("\n")}\nbut it prints\n${printed.join("\n")}`,
  );
}

/** `…` stands for anything; the amount of white space does not matter. */
function pattern(text) {
  const parts = text.split("…").map((part) => part.replace(/[\\^$.*+?()[\]{}|]/g, "\\$&").replace(/\s+/g, "\\s+"));
  return new RegExp(`^${parts.join("[^]*")}$`);
}

/** Without dots: what ends in `.d.ts` would be a file of declarations. */
function nameOf({ page, line }) {
  return `${basename(page, ".md").replaceAll(".", "-")}-${line}`;
}

/** Writes a program where it can import the package, as JavaScript. */
function write({ page, line, language, text }, port) {
  const name = nameOf({ page, line });
  const path = join(FOLDER, `${name}.mjs`);
  const options = { target: ts.ScriptTarget.ES2022, module: ts.ModuleKind.ESNext, inlineSourceMap: true };
  const { outputText } =
    language === "js"
      ? { outputText: text }
      : ts.transpileModule(text, { compilerOptions: options, fileName: `${name}.ts` });
  mkdirSync(FOLDER, { recursive: true });
  // The official client takes the port by itself, and a WebSocket of its own.
  writeFileSync(path, outputText.replace('from "ws"', `from "${WS}"`).replace("port: 8080", `port: ${port}`));
  return { name, url: pathToFileURL(path).href };
}

/**
 * What is wrong with the types of the programs in TypeScript, by the types as they ship.
 *
 * @param {Program[]} programs
 * @returns {string[]} none if all is well
 */
export function typeErrors(programs) {
  const files = new Map();
  for (const program of programs) {
    if (program.language === "ts") files.set(join(FOLDER, `${nameOf(program)}.ts`), program);
  }
  const { config } = ts.readConfigFile(fromRoot("tests", "types", "tsconfig.json"), ts.sys.readFile);
  const { options } = ts.parseJsonConfigFileContent(config, ts.sys, FOLDER);
  const host = ts.createCompilerHost(options);
  const { fileExists, readFile, getSourceFile } = host;
  host.fileExists = (path) => files.has(path) || fileExists(path);
  host.readFile = (path) => files.get(path)?.text ?? readFile(path);
  host.getSourceFile = (path, target, ...rest) => {
    const own = files.get(path);
    return own ? ts.createSourceFile(path, own.text, target) : getSourceFile(path, target, ...rest);
  };
  return ts.getPreEmitDiagnostics(ts.createProgram([...files.keys()], options, host)).map((diagnostic) => {
    const { file, start, messageText } = diagnostic;
    const text = ts.flattenDiagnosticMessageText(messageText, "\n");
    if (!file) return text;
    return `${files.get(file.fileName)?.page ?? file.fileName}:${file.getLineAndCharacterOfPosition(start).line + 1}: ${text}`;
  });
}
