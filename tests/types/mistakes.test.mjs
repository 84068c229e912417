// What the compiler says about typical mistakes.

import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { test } from "node:test";
import ts from "typescript";
import { fromRoot } from "../../scripts/lib/paths.mjs";

const PAGE = fromRoot("tests", "types", "mistakes", "mistakes.ts");

test("the messages about typical mistakes are as they were when somebody last read them", () => {
  const page = readFileSync(PAGE, "utf8");
  const code = page.replace(/^ *\/\/!.*\n/gm, "");
  const annotated = withMessages(code);
  if (process.env.UPDATE_MESSAGES) writeFileSync(PAGE, annotated);
  else assert.equal(annotated, page);
});

/** The program with the messages below the lines that they are about. */
function withMessages(code) {
  const lines = code.split("\n").map((line) => [line]);
  for (const { file, start, messageText } of diagnostics(code)) {
    const { line } = file.getLineAndCharacterOfPosition(start);
    const indentation = /^ */.exec(lines[line][0])[0];
    for (const text of ts.flattenDiagnosticMessageText(messageText, "\n").split("\n")) {
      lines[line].push(`${indentation}//! ${text}`);
    }
  }
  return lines.flat().join("\n");
}

function diagnostics(code) {
  const { config } = ts.readConfigFile(fromRoot("tests", "types", "tsconfig.json"), ts.sys.readFile);
  const { options } = ts.parseJsonConfigFileContent(config, ts.sys, fromRoot("tests", "types"));
  const host = ts.createCompilerHost(options);
  const { getSourceFile } = host;
  host.getSourceFile = (path, target, ...rest) =>
    path === PAGE ? ts.createSourceFile(path, code, target) : getSourceFile(path, target, ...rest);
  return ts.getPreEmitDiagnostics(ts.createProgram([PAGE], options, host));
}
