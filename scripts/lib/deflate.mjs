// What bytes will cost once gzip has compressed them, after all that stands before them: an estimate, which takes a
// hundredth of the time that gzip would take to say so.

/** Deflate looks back so far, and copies so many bytes at once. */
const WINDOW = 32_506;
const [SHORTEST, LONGEST] = [3, 258];
/** Three bytes are not copied from further away. */
const TOO_FAR = 4096;
/** Earlier places that are looked at. */
const TRIES = 64;

/** Symbols of deflate (RFC 1951, section 3.2.5): literal bytes, then lengths; and distances. */
const [SYMBOLS, FIRST_LENGTH, DISTANCES] = [286, 257, 30];

/** By length: its symbol, and how many bits follow that. */
const SYMBOL_OF_LENGTH = new Uint16Array(LONGEST + 1);
const BITS_OF_LENGTH = new Uint8Array(LONGEST + 1);
for (let length = SHORTEST; length <= LONGEST; length++) {
  const bits = length < 11 || length === LONGEST ? 0 : 29 - Math.clz32(length - SHORTEST);
  const few = FIRST_LENGTH + length - SHORTEST;
  const many = FIRST_LENGTH + 4 * (bits + 1) + (((length - SHORTEST) >> bits) & 3);
  SYMBOL_OF_LENGTH[length] = length === LONGEST ? SYMBOLS - 1 : bits === 0 ? few : many;
  BITS_OF_LENGTH[length] = bits;
}

/** The symbol of a distance; so many bits follow it as half of it, less one. */
function distanceSymbol(distance) {
  if (distance < 5) return distance - 1;
  const bits = 30 - Math.clz32(distance - 1);
  return 2 * (bits + 1) + (((distance - 1) >> bits) & 1);
}

/** All that has been written, and what more would cost. */
export class Deflate {
  #bytes;
  #length = 0;
  /** By three bytes, where they were last; by place, where the same three bytes were before. */
  #last = new Int32Array(1 << 16);
  #before;
  #counts = { symbols: new Float64Array(SYMBOLS), distances: new Float64Array(DISTANCES) };
  /** In bits: of a symbol; of that of a distance, with what follows it. */
  #symbols = Float64Array.from({ length: SYMBOLS }, (_, symbol) => (symbol < FIRST_LENGTH ? 8 : 6));
  #distances = Float64Array.from({ length: DISTANCES }, (_, symbol) => 4 + symbol / 2);
  /** How far away the copy is that was found last. */
  #distance = 0;

  /** For so many bytes together, those that are only tried included. */
  constructor(size) {
    this.#bytes = new Uint8Array(size);
    this.#before = new Int32Array(size);
    this.#last.fill(-1);
  }

  /** Writes bytes. */
  write(bytes) {
    this.#parse(bytes, Number.POSITIVE_INFINITY, true);
    this.#length += bytes.length;
  }

  /** What bytes would cost if they were written next, in bits; of more than `limit` only that it is more. */
  cost(bytes, limit = Number.POSITIVE_INFINITY) {
    return this.#parse(bytes, limit, false);
  }

  /** Begins anew, with costs as they were found. */
  restart() {
    const { symbols, distances } = this.#counts;
    const bits = (counts, sum) => (_, symbol) => Math.min(14, Math.max(1, -Math.log2((counts[symbol] + 0.3) / sum)));
    const sum = (counts) => counts.reduce((all, count) => all + count, 0);
    this.#symbols = symbols.map(bits(symbols, sum(symbols)));
    const ofDistance = distances.map(bits(distances, sum(distances)));
    this.#distances = ofDistance.map((cost, symbol) => cost + Math.max(0, (symbol >> 1) - 1));
    symbols.fill(0);
    distances.fill(0);
    this.#last.fill(-1);
    this.#length = 0;
  }

  /** As zlib does it: the longest copy, unless the one that begins a byte later is longer. */
  #parse(bytes, limit, isWritten) {
    this.#bytes.set(bytes, this.#length);
    const end = this.#length + bytes.length;
    let cost = 0;
    let entered = this.#length;
    for (let at = this.#length; at < end && cost < limit; ) {
      let length = this.#copy(at, end);
      const distance = this.#distance;
      entered = this.#enter(entered, at + 1, end);
      if (length > 0 && length < LONGEST && this.#copy(at + 1, end) > length) length = 0;
      const symbol = length === 0 ? this.#bytes[at] : SYMBOL_OF_LENGTH[length];
      cost += this.#symbols[symbol];
      if (isWritten) this.#counts.symbols[symbol]++;
      if (length > 0) {
        const farness = distanceSymbol(distance);
        cost += BITS_OF_LENGTH[length] + this.#distances[farness];
        if (isWritten) this.#counts.distances[farness]++;
      }
      at += Math.max(length, 1);
      entered = this.#enter(entered, at, end);
    }
    if (!isWritten) this.#leave(entered);
    return cost;
  }

  /** The length of the longest copy of what stands at a place, 0 if there is none; of several the nearest. */
  #copy(at, end) {
    const bytes = this.#bytes;
    const longest = Math.min(LONGEST, end - at);
    if (longest < SHORTEST) return 0;
    let length = 0;
    let from = this.#last[this.#key(at)];
    for (let tries = TRIES; tries > 0 && from >= 0 && at - from <= WINDOW && length < longest; tries--) {
      if (bytes[from + length] === bytes[at + length]) {
        let same = 0;
        while (same < longest && bytes[from + same] === bytes[at + same]) same++;
        if (same > length && (same > SHORTEST || at - from <= TOO_FAR)) {
          length = same;
          this.#distance = at - from;
        }
      }
      from = this.#before[from];
    }
    return length < SHORTEST ? 0 : length;
  }

  #key(at) {
    const bytes = this.#bytes;
    return ((bytes[at] << 10) ^ (bytes[at + 1] << 5) ^ bytes[at + 2]) & 0xffff;
  }

  /** Lets what stands from `entered` up to `to` be copied. */
  #enter(entered, to, end) {
    const last = Math.min(to, end - SHORTEST + 1);
    for (let at = entered; at < last; at++) {
      const key = this.#key(at);
      this.#before[at] = this.#last[key];
      this.#last[key] = at;
    }
    return Math.max(entered, last);
  }

  #leave(entered) {
    for (let at = entered - 1; at >= this.#length; at--) this.#last[this.#key(at)] = this.#before[at];
  }
}
