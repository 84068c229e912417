// The names that the glue and the module know each other by. The generator ends them in sixteen digits that no compression
// makes shorter; together they are 2 KB of the download. Within one package the rest of a name is enough.

const IMPORT_SECTION = 2;
const EXPORT_SECTION = 7;
const HASHED = /\b(\w+?)_+h?[0-9a-f]{16}\b/g;

/** Shortens the names in both; returns the new glue and the new module. */
export function shortenNames(glue, module) {
  const short = new Map();
  const taken = new Set();
  for (const [hashed, name] of glue.matchAll(HASHED)) {
    if (short.has(hashed)) continue;
    let chosen = name;
    for (let number = 2; taken.has(chosen) || glue.includes(`${chosen}:`); number++) chosen = `${name}${number}`;
    taken.add(chosen);
    short.set(hashed, chosen);
  }
  const rename = (name) => short.get(name) ?? name;
  return { glue: glue.replace(HASHED, rename), module: renamed(module, rename) };
}

/** The module with other names of its imports and exports. */
function renamed(bytes, rename) {
  const parts = [bytes.subarray(0, 8)];
  const reader = new Reader(bytes, 8);
  while (!reader.isAtEnd) {
    const id = reader.byte();
    const section = reader.bytes(reader.number());
    const content =
      id === IMPORT_SECTION ? imports(section, rename) : id === EXPORT_SECTION ? exports(section, rename) : section;
    parts.push(Buffer.from([id]), number(content.length), content);
  }
  return Buffer.concat(parts);
}

function imports(section, rename) {
  const reader = new Reader(section, 0);
  const count = reader.number();
  const parts = [number(count)];
  for (let left = count; left > 0; left--) {
    parts.push(name(reader.text()), name(rename(reader.text())));
    const start = reader.at;
    reader.skipDescription();
    parts.push(section.subarray(start, reader.at));
  }
  return Buffer.concat(parts);
}

function exports(section, rename) {
  const reader = new Reader(section, 0);
  const count = reader.number();
  const parts = [number(count)];
  for (let left = count; left > 0; left--) {
    parts.push(name(rename(reader.text())), reader.bytes(1), number(reader.number()));
  }
  return Buffer.concat(parts);
}

/** Reads what a WebAssembly module is written in. */
class Reader {
  constructor(source, at) {
    this.source = source;
    this.at = at;
  }

  get isAtEnd() {
    return this.at === this.source.length;
  }

  byte() {
    return this.source[this.at++];
  }

  bytes(length) {
    this.at += length;
    return this.source.subarray(this.at - length, this.at);
  }

  number() {
    let [value, shift, byte] = [0, 0, 0x80];
    while (byte & 0x80) {
      byte = this.byte();
      value += (byte & 0x7f) * 2 ** shift;
      shift += 7;
    }
    return value;
  }

  text() {
    return this.bytes(this.number()).toString();
  }

  /** What is imported. */
  skipDescription() {
    const kind = this.byte();
    if (kind !== 0) throw new Error(`the module imports something of kind ${kind}, which is no function`);
    this.number(); // its type
  }
}

function number(value) {
  const bytes = [];
  for (; value > 0x7f; value = Math.floor(value / 128)) bytes.push((value % 128) | 0x80);
  return Buffer.from([...bytes, value]);
}

function name(text) {
  const bytes = Buffer.from(text);
  return Buffer.concat([number(bytes.length), bytes]);
}
