// Tests of the example runner itself: it notices an example that is wrong.

import assert from "node:assert/strict";
import { test } from "node:test";
import { programsOf, run, typeErrors } from "./support/programs.mjs";

let pages = 0;

/** The one program of a page with these blocks. */
function program(language, ...blocks) {
  const markdown = blocks.map((block) => `Text.\n\n\`\`\`${language}\n${block}\n\`\`\`\n`).join("\n");
  const programs = programsOf(`checked-${++pages}.md`, markdown);
  assert.equal(programs.length, 1);
  return programs[0];
}

const SESSION = 'import { connect } from "antiphon";\nconst session = await connect("wss://example.com");';

test("an example that does what it says passes", async () => {
  await run(
    program("js", SESSION, 'console.log(session.state); // -> connected\nconsole.log({ a: 1 }, "b"); // -> { a: 1 } b'),
  );
});

test("an example that prints something else fails, and it says where", async () => {
  const wrong = program("js", SESSION, "const state = session.state;\nconsole.log(state); // -> closed");
  await assert.rejects(run(wrong), /^Error: checked-\d+\.md:12: .*closed\nbut it prints\nconnected$/s);
});

const SOON = 1_500; // ms

test("an example that prints less, or more, than it says fails", async () => {
  await assert.rejects(
    run(program("js", SESSION, 'for (const x of "a") console.log(x); // -> a\n// -> b'), SOON),
    /prints\na$/,
  );
  await assert.rejects(run(program("js", SESSION, 'for (const x of "ab") console.log(x); // -> a')), /prints\na\nb$/);
});

test("what is printed later counts", async () => {
  const later = "session.ping().then(() => console.log(session.state)); // -> connect…";
  await run(program("js", SESSION, later));
});

test("an example that throws fails", async () => {
  await assert.rejects(run(program("js", SESSION, "await session.messaging.sendTo();")), TypeError);
});

test("an example in TypeScript runs, and its lines are those of the page", async () => {
  const types = "interface Shop {\n  price: { request: string; response: number };\n}";
  const wrong = program("ts", SESSION, types, "const s: string = session.state;\nconsole.log(s); // -> closed");
  await assert.rejects(run(wrong), /^Error: checked-\d+\.md:20: .*closed\nbut it prints\nconnected$/s);
});

test("an example in TypeScript that does not type-check is named", () => {
  const wrong = program("ts", SESSION, "const id: number = session.id;");
  assert.deepEqual(
    typeErrors([wrong]).map((error) => error.replace(/-\d+/, "")),
    ["checked.md:11: Type 'string' is not assignable to type 'number'."],
  );
});

test("a block with an import begins a program, one marked nocheck is none, and one before any import is an error", () => {
  const block = (mark, text) => `\`\`\`${mark}\n${text}\n\`\`\`\n`;
  const [first, second, ...rest] = programsOf(
    "page.md",
    [block("js", "import 'a';"), block("js nocheck", "x"), block("js", "y"), block("ts", "import 'b';")].join("\n"),
  );
  assert.deepEqual([first.line, first.text.trim().split(/\s*\n\s*/)], [2, ["import 'a';", "y"]]);
  assert.deepEqual([second.line, second.text.trim(), rest], [14, "import 'b';", []]);
  assert.throws(() => programsOf("page.md", block("js", "x")), /^Error: page.md:2: this block needs an import$/);
});
