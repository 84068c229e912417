// The functions of a WebAssembly module, byte by byte.

const SECTION = { type: 1, function: 3, code: 10 };

/** The bodies of the functions of a module, without their lengths, in the order of the module. */
export function bodiesOf(bytes) {
  return functionsOf(bytes).map(({ body }) => body);
}

/** The functions of a module, in its order: body, without its length, and number of parameters. */
export function functionsOf(bytes) {
  const types = itemsOf(bytes, SECTION.type, (reader) => {
    reader.skip(1); // a function
    const parameters = reader.list(() => reader.skip(1)).length;
    reader.list(() => reader.skip(1));
    return parameters;
  });
  const parameters = itemsOf(bytes, SECTION.function, (reader) => types[reader.number()]);
  const bodies = itemsOf(bytes, SECTION.code, (reader) => reader.skip(reader.number()));
  return bodies.map((body, index) => ({ body, parameters: parameters[index] }));
}

/** The same module with these bodies in place of those that it has. */
export function withBodies(bytes, bodies) {
  const { before, end } = sectionsOf(bytes).find(({ id }) => id === SECTION.code);
  const code = [leb(bodies.length), ...bodies.flatMap((body) => [leb(body.length), body])];
  const length = code.reduce((sum, part) => sum + part.length, 0);
  const parts = [bytes.subarray(0, before), [SECTION.code], leb(length), ...code, bytes.subarray(end)];
  return Buffer.concat(parts.map((part) => Uint8Array.from(part)));
}

/**
 * A body, taken apart: the types of its locals, without parameters; its code; and where the numbers of locals are in that.
 * Those are a byte each, unless the function has too `many` locals.
 */
export function localsOf(body) {
  const reader = new Reader(body);
  const types = reader.list(() => Array(reader.number()).fill(reader.skip(1)[0])).flat();
  const code = body.subarray(reader.at);
  const places = [];
  let isLong = false;
  while (reader.at < body.length) {
    const opcode = reader.skip(1)[0];
    if (!LOCAL.has(opcode)) reader.operands(opcode);
    else {
      places.push(reader.at - (body.length - code.length));
      isLong ||= reader.number() >= 128;
    }
  }
  return { types, code, places, many: isLong };
}

/** The other way round. */
export function bodyOf({ types, code }) {
  const groups = [];
  for (const type of types) {
    const last = groups.at(-1);
    if (last?.type === type) last.count++;
    else groups.push({ type, count: 1 });
  }
  const head = [...leb(groups.length), ...groups.flatMap(({ type, count }) => [...leb(count), type])];
  const body = new Uint8Array(head.length + code.length);
  body.set(head);
  body.set(code, head.length);
  return body;
}

/** `local.get`, `local.set`, `local.tee`. */
const LOCAL = new Set([0x20, 0x21, 0x22]);

/** What follows an opcode, a letter each: a number, bytes by their count, a list of numbers. */
const OPERANDS = new Map([
  ...[0x02, 0x03, 0x04, 0x0c, 0x0d, 0x10, 0x12, 0x23, 0x24, 0x25, 0x26, 0x3f, 0x40].map((opcode) => [opcode, "n"]),
  ...[0x41, 0x42, 0xd0, 0xd2].map((opcode) => [opcode, "n"]), // constants, references
  ...[0x11, 0x13].map((opcode) => [opcode, "nn"]), // indirect calls
  ...Array.from({ length: 0x3e - 0x28 + 1 }, (_, index) => [0x28 + index, "nn"]), // what is read and written
  ...[0x00, 0x01, 0x05, 0x0b, 0x0f, 0x1a, 0x1b, 0xd1].map((opcode) => [opcode, ""]),
  ...Array.from({ length: 0xc4 - 0x45 + 1 }, (_, index) => [0x45 + index, ""]), // arithmetic
  [0x0e, "ln"],
  [0x1c, "l"],
  [0x43, "4"],
  [0x44, "8"],
]);

/** The same after the prefix 0xfc, which the number of the instruction follows. */
const PREFIX = 0xfc;
const PREFIXED = ["", "", "", "", "", "", "", "", "nn", "n", "nn", "n", "nn", "n", "nn", "n", "n", "n"];

class Reader {
  at;
  #bytes;

  constructor(bytes, at = 0) {
    this.#bytes = bytes;
    this.at = at;
  }

  /** The next bytes. */
  skip(count) {
    this.at += count;
    return this.#bytes.subarray(this.at - count, this.at);
  }

  /** A number without a sign; of one with a sign only that it is over. */
  number() {
    let [value, scale, byte] = [0, 1, 0x80];
    while (byte & 0x80) {
      byte = this.#bytes[this.at++];
      value += (byte & 0x7f) * scale;
      scale *= 128;
    }
    return value;
  }

  list(item) {
    return Array.from({ length: this.number() }, item);
  }

  /** Passes over what follows an opcode. */
  operands(opcode) {
    const kinds = opcode === PREFIX ? PREFIXED[this.number()] : OPERANDS.get(opcode);
    if (kinds === undefined)
      throw new Error(`there is an instruction ${opcode}, which scripts/lib/code.mjs does not know`);
    for (const kind of kinds) {
      if (kind === "n") this.number();
      else if (kind === "l") this.list(() => this.number());
      else this.skip(Number(kind));
    }
  }
}

/** The items of a section; none if the module has no such section. */
function itemsOf(bytes, section, item) {
  const { start } = sectionsOf(bytes).find(({ id }) => id === section) ?? {};
  if (start === undefined) return [];
  const reader = new Reader(bytes, start);
  return reader.list(() => item(reader));
}

/** The sections of a module: where they begin, with and without number and length, and end. */
function sectionsOf(bytes) {
  const sections = [];
  const reader = new Reader(bytes, 8);
  while (reader.at < bytes.length) {
    const before = reader.at;
    const id = reader.skip(1)[0];
    const length = reader.number();
    const start = reader.at;
    reader.skip(length);
    sections.push({ id, before, start, end: reader.at });
  }
  return sections;
}

/** A number as the format has it: seven bits a byte. */
function leb(number) {
  return number < 128 ? [number] : [(number % 128) + 128, ...leb(Math.floor(number / 128))];
}
