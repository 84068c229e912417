// Formats values as text. Answers may contain what JSON.stringify cannot express: bigint, bytes, NaN.

const MAX_LENGTH = 20_000; // characters of one value put into the page; more than anyone reads
const MAX_PREVIEW_LENGTH = 120; // characters of one value in a log line
const MAX_BYTES = 256; // bytes written out of one Uint8Array
const MAX_LINE_LENGTH = 64; // characters of a list or object that stays on one line

/** `value` on as many lines as it needs, indented by two spaces a level. */
export function show(value) {
  const text = new Text(MAX_LENGTH);
  write(value, text, "\n");
  return text.toString();
}

/** `value` on one line, shortened. */
export function preview(value) {
  const text = new Text(MAX_PREVIEW_LENGTH);
  write(value, text, undefined);
  return text.toString();
}

/** A duration in milliseconds, with the digits that matter. */
export function milliseconds(duration) {
  if (duration < 0.1) return "under 0.1 ms"; // browsers round their clocks
  return `${duration.toFixed(duration < 100 ? 1 : 0)} ms`;
}

/** Text that stops growing at `limit`, so that a value of megabytes costs only what is shown of it. */
class Text {
  #limit;
  #parts = [];
  #length = 0;

  constructor(limit) {
    this.#limit = limit;
  }

  get full() {
    return this.#length > this.#limit;
  }

  add(part) {
    this.#parts.push(part);
    this.#length += part.length;
  }

  toString() {
    const text = this.#parts.join("");
    return this.full ? `${text.slice(0, this.#limit)} …` : text;
  }
}

/** `newline` is a line break plus the current indentation, or undefined to stay on one line. */
function write(value, text, newline) {
  if (text.full) return;
  if (typeof value === "string") text.add(JSON.stringify(value));
  else if (typeof value === "bigint") text.add(`${value}n`);
  else if (Object.is(value, -0)) text.add("-0");
  else if (value instanceof Uint8Array) text.add(bytes(value));
  else if (Array.isArray(value)) {
    const members = value.map((member) => ["", member]);
    writeAll(members, text, newline, "[", "]");
  } else if (typeof value === "object" && value !== null) {
    const members = Object.entries(value).map(([key, member]) => [`${JSON.stringify(key)}: `, member]);
    writeAll(members, text, newline, "{ ", " }");
  } else text.add(String(value));
}

function writeAll(members, text, newline, open, close) {
  if (members.length === 0) return text.add((open + close).replaceAll(" ", ""));
  if (newline !== undefined) {
    const line = new Text(MAX_LINE_LENGTH);
    writeAll(members, line, undefined, open, close);
    const flat = members.every(([, member]) => typeof member !== "object" || member === null);
    if (flat && open === "[" && !line.full) return text.add(line.toString());
  }
  const inner = newline === undefined ? undefined : `${newline}  `;
  text.add(newline === undefined ? open : open.trim());
  for (const [index, [label, member]] of members.entries()) {
    if (text.full) return;
    if (index > 0) text.add(newline === undefined ? ", " : ",");
    text.add((inner ?? "") + label);
    write(member, text, inner);
  }
  text.add(newline === undefined ? close : newline + close.trim());
}

function bytes(array) {
  const shown = Array.from(array.subarray(0, MAX_BYTES), (byte) => byte.toString(16).padStart(2, "0"));
  const rest = array.length - shown.length;
  return `Uint8Array(${array.length}) <${shown.join(" ")}${rest > 0 ? ` and ${rest} more` : ""}>`;
}
