// The bytes of the protocol as far as these tests speak it (docs/protocol.md, sections 3 to 8). Written from the
// specification and apart from the Rust of the product, so that the two check each other.

/** Message types (section 4.1). */
export const REQUEST = 0;
export const RESPONSE = 6;
export const ERROR = 7;
export const ABORT = 28;
export const CLOSE_REQUEST = 29;
export const BATCH = 62; // of section 18.2
export const WITH_HEADERS = 61; // of section 18.6

/** Services (section 5.1). */
export const CLOSE_CLIENT = 14;
export const SYSTEM_PING = 55;
export const USER_PING = 56;
export const SEND_TO_PATH = 85; // towards a client: the delivery of an addressed request
export const SEND_TO_SESSION = 86;
export const DELIVERY = 88; // to a registered handler
export const REGISTER = 97;
export const SEND_TO_FILTER = 102;
export const FILTER_RESPONSE = 103;
export const CANCEL = 1002;
export const COUNT_SESSIONS = 1003;
export const FIND_HANDLERS = 1004;
export const WATCH_HANDLERS = 1005;
export const HANDLERS_CHANGED = 1006;
export const UNWATCH_HANDLERS = 1007;

// ---- Writing (section 4.4) ----

export const join = (...parts) => Buffer.concat(parts);

export function varint(number) {
  const bytes = [];
  let rest = BigInt.asUintN(64, BigInt(number));
  while (rest > 0x7fn) {
    bytes.push(Number(rest & 0x7fn) | 0x80);
    rest >>= 7n;
  }
  return Buffer.from([...bytes, Number(rest)]);
}

export const blob = (bytes) => join(varint(bytes.length), bytes);
export const string = (text) => blob(Buffer.from(text));
export const list = (items) => join(varint(items.length), ...items);
export const sessionId = (text) => join(...text.split("-").map((half) => varint(BigInt(`0x${half}`))));

/** A serialised value: the name of its data type, and its bytes (section 7). */
export const value = (type, bytes) => join(string(type), blob(Buffer.from(bytes)));

/** A text of less than 64 KiB as a serialised value. */
export const text = (content) => value("string", cborText(content));

/** The same in CBOR. */
export function cborText(content) {
  const bytes = Buffer.from(content);
  const head = bytes.length < 24 ? [0x60 | bytes.length] : [0x79, bytes.length >> 8, bytes.length & 0xff];
  return join(Buffer.from(head), bytes);
}

/** An object of less than 24 strings in CBOR. */
function cborMap(object) {
  const entries = Object.entries(object);
  return join(Buffer.of(0xa0 | entries.length), ...entries.flat().map(cborText));
}

/** The headers of section 18.6: how each is written, and read, in the order of their numbers. */
const HEADERS = [
  ["timeLeft", unsigned32, (bytes) => bytes.readUInt32BE()],
  ["idempotencyKey", (key) => Buffer.from(key), String],
  ["metadata", cborMap, (bytes) => new Reader(bytes).cborMap()],
  ["details", (bytes) => bytes, (bytes) => bytes],
  ["maxConcurrent", varint, (bytes) => new Reader(bytes).count()],
  ["maxQueued", varint, (bytes) => new Reader(bytes).count()],
];

function unsigned32(number) {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(number);
  return bytes;
}

/** A message with headers before it, those that are given. */
export function withHeaders(given, message) {
  const written = HEADERS.map(([name, write], index) =>
    given[name] === undefined ? Buffer.alloc(0) : join(Buffer.of(index + 1), blob(write(given[name]))),
  );
  return join(Buffer.of(WITH_HEADERS), blob(join(...written)), message);
}

/** A message: a service request has a service, and only errors have a text and a reason; any may have headers. */
export function frame({ headers, ...message }) {
  return headers ? withHeaders(headers, bare(message)) : bare(message);
}

function bare({ type, service, conversation, body = Buffer.alloc(0), text = "", reason }) {
  const head = Buffer.from([type]);
  if (type === REQUEST) return join(head, varint(service), varint(conversation), body);
  if (type === RESPONSE) return join(head, varint(conversation), body);
  if (type === ERROR) return join(head, varint(conversation), string(text), varint(reason));
  return head;
}

/** Several messages in one (section 18.2), each as {@link frame} takes it or as its bytes. */
export const batch = (...messages) =>
  join(Buffer.of(BATCH), ...messages.map((message) => blob(message instanceof Buffer ? message : frame(message))));

/** Features of a connection, as bits (section 18.1). */
export const BATCHING = 1;
export const DEADLINES = 2;
export const CANCELLING = 4;
export const BUSY = 8;
export const IDEMPOTENCY = 16;
export const METADATA = 32;
export const DETAILS = 64;
export const DISCOVERY = 128;
export const UNACKNOWLEDGED = 256;
export const RENEWAL = 512;

/** What says behind a connection response which features are granted. */
export function granted(features) {
  return join(Buffer.from("FEAT"), unsigned32(features));
}

/** The session token of every connection response here. */
export const TOKEN = "A".repeat(24);

/**
 * A connection response (section 3): only the version and the code, unless the code is one of success. The largest size
 * of a message has the same place as, in a 105, the number of the message to go on from, `recovery`. `tail` is what comes
 * behind it: the features granted, if there are any.
 */
export function connectionResponse({
  version = 25,
  code = 100,
  id,
  pingPeriod = 0,
  maxMessageSize = 1 << 25,
  recovery = maxMessageSize,
  features,
  tail = features === undefined ? Buffer.alloc(0) : granted(features),
}) {
  const head = Buffer.from([0x23, version, code]);
  if (![100, 105, 106].includes(code)) return head;
  const numbers = Buffer.alloc(12);
  numbers.writeBigInt64BE(BigInt(pingPeriod));
  numbers.writeInt32BE(recovery, 8);
  return join(head, Buffer.from(id.replace("-", ""), "hex"), Buffer.from(TOKEN), numbers, tail);
}

// ---- Reading ----

export class Reader {
  #at = 0;

  constructor(bytes) {
    this.bytes = bytes;
  }

  byte() {
    this.#at += 1;
    return this.bytes[this.#at - 1];
  }

  varint() {
    let number = 0n;
    for (let shift = 0n; ; shift += 7n) {
      const byte = this.byte();
      number |= BigInt(byte & 0x7f) << shift;
      if (byte < 0x80) return number;
    }
  }

  count() {
    return Number(this.varint());
  }

  blob() {
    return this.#take(this.count());
  }

  string() {
    return this.blob().toString();
  }

  sessionId() {
    const half = () => this.varint().toString(16).padStart(16, "0");
    return `${half()}-${half()}`;
  }

  list(read) {
    return Array.from({ length: this.count() }, read);
  }

  /** An object of strings in CBOR, which ends with a byte that says so, or has less than 24. */
  cborMap() {
    const [first, entries] = [this.byte(), []];
    const isAtEnd = () => (first === 0xbf ? this.bytes[this.#at] === 0xff : entries.length === (first & 0x1f));
    while (!isAtEnd()) entries.push([this.#cborText(), this.#cborText()]);
    return Object.fromEntries(entries);
  }

  #cborText() {
    const short = this.byte() & 0x1f;
    const longer = { 24: () => this.byte(), 25: () => (this.byte() << 8) | this.byte() };
    return this.#take(longer[short]?.() ?? short).toString();
  }

  value() {
    return { type: this.string(), bytes: this.blob() };
  }

  get isAtEnd() {
    return this.#at === this.bytes.length;
  }

  rest() {
    return this.#take(this.bytes.length - this.#at);
  }

  #take(length) {
    this.#at += length;
    return this.bytes.subarray(this.#at - length, this.#at);
  }
}

/** The headers of a message, by name; undefined if it has none. */
export function headersOf(bytes) {
  if (bytes[0] !== WITH_HEADERS) return undefined;
  const found = {};
  for (const reader = new Reader(new Reader(bytes.subarray(1)).blob()); !reader.isAtEnd; ) {
    const [name, , read] = HEADERS[reader.byte() - 1];
    found[name] = read(reader.blob());
  }
  return found;
}

/** A message; it has `headers` if it came with any. */
export function readFrame(bytes) {
  const headers = headersOf(bytes);
  if (headers) {
    const reader = new Reader(bytes.subarray(1));
    reader.blob();
    return { headers, ...readFrame(reader.rest()) };
  }
  const reader = new Reader(bytes);
  const type = reader.byte();
  if (type === REQUEST) {
    return { type, service: reader.count(), conversation: reader.varint(), body: reader.rest() };
  }
  if (type === RESPONSE) return { type, conversation: reader.varint(), body: reader.rest() };
  if (type !== ERROR) return { type };
  return { type, conversation: reader.varint(), text: reader.string(), reason: reader.count() };
}

/** The bytes of each message of a batch; of what is none, itself. */
export function readBatch(bytes) {
  if (bytes[0] !== BATCH) return [bytes];
  const messages = [];
  for (const reader = new Reader(bytes.subarray(1)); !reader.isAtEnd; ) messages.push(reader.blob());
  return messages;
}

export function readConnectionResponse(bytes) {
  const [, version, code] = bytes;
  if (bytes.length === 3) return { version, code };
  const id = bytes.toString("hex", 3, 19).replace(/^.{16}/, "$&-");
  const token = bytes.toString("latin1", 19, 43);
  const [pingPeriod, maxMessageSize] = [bytes.readBigInt64BE(43), bytes.readInt32BE(51)];
  const features = bytes.toString("latin1", 55, 59) === "FEAT" ? bytes.readUInt32BE(59) : undefined;
  return { version, code, id, token, pingPeriod, maxMessageSize, features, length: bytes.length };
}

/** Section 8.2, the first box: a request to a path, and the delivery of an addressed one. */
export function readSendToPath(body) {
  const reader = new Reader(body);
  return { path: reader.string(), ...reader.value() };
}

/** Section 8.2: the delivery to a registered handler. */
export function readDelivery(body) {
  const reader = new Reader(body);
  const [registration, sender, path] = [reader.varint(), reader.sessionId(), reader.string()];
  const properties = Object.fromEntries(reader.list(() => [reader.string(), reader.string()]));
  return { registration, sender, path, properties, ...reader.value() };
}

/** Section 18.13: the handlers of a path, as they are written and read; undefined for none. */
export const found = (handlers) =>
  handlers ? join(Buffer.of(1), string(handlers.path), varint(handlers.handlers)) : Buffer.of(0);

export function readFound(body) {
  const reader = new Reader(body);
  return reader.byte() === 1 ? { path: reader.string(), handlers: reader.count() } : undefined;
}

/** Section 18.13: a watch that begins, and what has changed for one. */
export function readWatch(body) {
  const reader = new Reader(body);
  return { watch: reader.varint(), path: reader.string() };
}

export function readChange(body) {
  const reader = new Reader(body);
  return { watch: reader.varint(), found: readFound(reader.rest()) };
}

/** Section 18.8: what is given up. */
export function readCancel(body) {
  const reader = new Reader(body);
  return { request: reader.varint(), isTimedOut: reader.byte() === 1 };
}

/** The same, to be sent. */
export const cancel = (request, isTimedOut) => ({
  type: REQUEST,
  service: CANCEL,
  conversation: 0,
  body: join(varint(request), Buffer.of(isTimedOut ? 1 : 0)),
});

/** Section 8.4: a request to a session filter. */
export function readSendToFilter(body) {
  const reader = new Reader(body);
  return { filterConversation: reader.varint(), filter: reader.string(), path: reader.string(), ...reader.value() };
}

/** Section 8.4: how many sessions match, or where the filter does not parse. */
export function readFilterOutcome(body) {
  const reader = new Reader(body);
  if (reader.byte() === 0) return { count: reader.count() };
  return { errors: reader.list(() => ({ message: reader.string(), line: reader.count(), column: reader.count() })) };
}

/** Section 8.4: what one session answered. */
export function readFilterResponse(body) {
  const reader = new Reader(body);
  const [filterConversation, session] = [reader.varint(), reader.sessionId()];
  const outcome = reader.byte() === 0 ? reader.value() : { reason: reader.count(), text: reader.string() };
  return { filterConversation, session, ...outcome };
}
