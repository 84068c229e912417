// Reads a file of types: what it says about its exports and their members, and its examples, as programs.

import ts from "typescript";
import { programOf } from "./programs.mjs";

/**
 * @typedef {object} Entry an exported declaration, or a member of one
 * @property {string} name e.g. `Session.ping`
 * @property {number} line
 * @property {string} own the last part of its name
 * @property {boolean} isValue whether it exists at run time
 * @property {boolean} isCallable whether it is a method or a signature
 * @property {string} text what is said about it
 * @property {Example[]} examples
 * @property {Entry[]} members
 *
 * @typedef {{ line: number, lines: string[] }} Example
 */

/**
 * The exports of a file of types.
 *
 * @param {string} source its content
 * @returns {Entry[]}
 */
export function exportsOf(source) {
  const file = ts.createSourceFile("index.d.ts", source, ts.ScriptTarget.Latest, true);
  const isExported = (node) => node.modifiers?.some(({ kind }) => kind === ts.SyntaxKind.ExportKeyword);
  return file.statements.filter(isExported).map((statement) => {
    const declaration = ts.isVariableStatement(statement) ? statement.declarationList.declarations[0] : statement;
    const members = declaration.members ?? declaration.type?.members ?? [];
    const isValue = [ts.isFunctionLike, ts.isVariableDeclaration, ts.isClassDeclaration].some((is) => is(declaration));
    const entry = { name: declaration.name.text, own: declaration.name.text, isValue, isCallable: false };
    return { ...entry, ...said(file, statement), members: [...membersOf(file, entry.name, members)] };
  });
}

function* membersOf(file, owner, members) {
  for (const member of members) {
    if (ts.getCombinedModifierFlags(member) & (ts.ModifierFlags.Private | ts.ModifierFlags.Protected)) continue;
    if (ts.isIndexSignatureDeclaration(member)) continue; // it has no name
    if (ts.isIdentifier(member.name?.expression ?? member)) continue; // a symbol of the file's own: for the compiler
    const isCallable = !ts.isPropertySignature(member) && !ts.isPropertyDeclaration(member);
    const own = member.name ? (member.name.text ?? member.name.getText()) : ts.isClassElement(member) ? "new" : "call";
    yield { name: `${owner}.${own}`, own, isValue: false, isCallable, ...said(file, member), members: [] };
  }
}

/** The documentation of a declaration: text, and examples. */
function said(file, node) {
  const { line } = file.getLineAndCharacterOfPosition(node.getStart());
  const comment = node.jsDoc?.at(-1);
  if (comment === undefined) return { line: line + 1, text: "", examples: [] };
  return { line: line + 1, ...parse(file, comment) };
}

/** The examples of the comment about the file as a whole. */
export function moduleExamples(source) {
  const file = ts.createSourceFile("index.d.ts", source, ts.ScriptTarget.Latest, true);
  const [comment, ...others] = file.statements[0].jsDoc;
  return others.length > 0 ? parse(file, comment).examples : [];
}

function parse(file, comment) {
  const first = file.getLineAndCharacterOfPosition(comment.pos).line;
  const lines = comment.getText().split("\n");
  const texts = [];
  const examples = [];
  let tag = "";
  for (const [index, line] of lines.entries()) {
    const content = line.replace(/^\s*(\/\*\*|\*(?!\/)) ?/, "").replace(/\s*\*\/$/, "");
    const begins = /^@(\w+)/.exec(content)?.[1];
    tag = begins ?? tag;
    if (begins === "example") examples.push({ line: first + index + 2, lines: [] });
    else if (tag === "example") examples.at(-1).lines.push(content);
    else if (tag === "") texts.push(content);
  }
  return { text: texts.join("\n").trim(), examples };
}

/**
 * What lacks documentation. An export, and a member that is called, needs an example of its own. Any other member, such
 * as an option or a property, may be shown by the example of its export instead, which then has to name it.
 *
 * @param {Entry[]} entries
 * @returns {string[]} none if all is well
 */
export function missing(entries) {
  return entries.flatMap((entry) => {
    const shown = code(entry.examples);
    const isShown = (member) => member.examples.length > 0 || (!member.isCallable && named(member.own).test(shown));
    return [
      ...[entry, ...entry.members].filter(({ text }) => text === "").map(({ name }) => `${name} is not described`),
      ...(entry.examples.length === 0 ? [`${entry.name} has no example`] : []),
      ...entry.members.filter((member) => !isShown(member)).map(({ name }) => `${name} is in no example`),
    ];
  });
}

function code(examples) {
  return examples.flatMap(({ lines }) => lines.map((line) => line.replace(/\/\/.*/, ""))).join("\n");
}

function named(name) {
  return new RegExp(`(?<![\\w$])${name.replace(/[$~]/g, "\\$&")}(?![\\w$])`);
}

/**
 * The examples as programs. One without an import has all exports, and an open session.
 *
 * @param {string} page the name of the file
 * @param {string} source its content
 * @returns {(import("./programs.mjs").Program & { of: string })[]}
 */
export function examplePrograms(page, source) {
  const entries = exportsOf(source);
  const names = [...new Set(entries.map(({ name }) => name))].join(", ");
  const open = `import { ${names} } from "antiphon"; const session = await connect("ws://localhost:8080/antiphon"); {`;
  const program = (of, { line, lines }) => {
    const isComplete = lines.some((text) => text.startsWith("import "));
    const [before, after] = isComplete ? ["", ""] : [open, "}"];
    const above = [before, ...new Array(line - 2).fill("")];
    return { of, ...programOf({ page, line, language: "ts", lines: [...above, ...lines, after] }) };
  };
  return [
    ...moduleExamples(source).map((example) => program("the package", example)),
    ...entries
      .flatMap((entry) => [entry, ...entry.members])
      .flatMap(({ name, examples }) => examples.map((example) => program(name, example))),
  ];
}
