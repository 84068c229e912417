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

/** The symbol of a length, or of a distance, and how many bits follow it. */
function lengthSymbol(length) {
  if (length < 11) return { symbol: FIRST_LENGTH + length - SHORTEST, bits: 0 };
  if (length === LONGEST) return { symbol: SYMBOLS - 1, bits: 0 };
  const bits = 29 - Math.clz32(length - SHORTEST);
  return { symbol: FIRST_LENGTH + 4 * (bits + 1) + (((length - SHORTEST) >> bits) & 3), bits };
}

function distanceSymbol(distance) {
  if (distance < 5) return { symbol: distance - 1, bits: 0 };
  const bits = 30 - Math.clz32(distance - 1);
  return { symbol: 2 * (bits + 1) + (((distance - 1) >> bits) & 1), bits };
}

/** All that has been written, and what more would cost. */
export class Deflate {
  #bytes;
  #length = 0;
  /** By three bytes, where they were last; by place, where the same three bytes were before. */
  #last = new Int32Array(1 << 16);
  #before;
  #counts = { symbols: new Float64Array(SYMBOLS), distances: new Float64Array(DISTANCES) };
  /** In bits: of a symbol, of a length, of the symbol of a distance. */
  #symbols = new Float64Array(SYMBOLS).fill(8);
  #lengths = Array.from({ length: LONGEST + 1 }, (_, length) => (length < 11 ? 6 : 8));
  #distances = Array.from({ length: DISTANCES }, (_, symbol) => 4 + symbol / 2);

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
    const ofDistance = Array.from(distances, bits(distances, sum(distances)));
    this.#distances = ofDistance.map((cost, symbol) => cost + Math.max(0, (symbol >> 1) - 1));
    this.#lengths = this.#lengths.map((_, length) => {
      const { symbol, bits } = lengthSymbol(Math.max(length, SHORTEST));
      return this.#symbols[symbol] + bits;
    });
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
      let { length, distance } = this.#copy(at, end);
      entered = this.#enter(entered, at + 1, end);
      if (length > 0 && length < LONGEST && this.#copy(at + 1, end).length > length) length = 0;
      const literals = this.#symbols[this.#bytes[at]];
      if (length === 0) {
        cost += literals;
        if (isWritten) this.#counts.symbols[this.#bytes[at]]++;
        length = 1;
      } else {
        const { symbol } = distanceSymbol(distance);
        cost += this.#lengths[length] + this.#distances[symbol];
        if (isWritten) {
          this.#counts.symbols[lengthSymbol(length).symbol]++;
          this.#counts.distances[symbol]++;
        }
      }
      at += length;
      entered = this.#enter(entered, at, end);
    }
    if (!isWritten) this.#leave(entered);
    return cost;
  }

  /** The longest copy of what stands at a place; of several the nearest. */
  #copy(at, end) {
    const [bytes, longest] = [this.#bytes, Math.min(LONGEST, end - at)];
    let [length, distance] = [0, 0];
    if (longest < SHORTEST) return { length, distance };
    let from = this.#last[this.#key(at)];
    for (let tries = TRIES; tries > 0 && from >= 0 && at - from <= WINDOW && length < longest; tries--) {
      if (bytes[from + length] === bytes[at + length]) {
        let same = 0;
        while (same < longest && bytes[from + same] === bytes[at + same]) same++;
        if (same > length && (same > SHORTEST || at - from <= TOO_FAR)) [length, distance] = [same, at - from];
      }
      from = this.#before[from];
    }
    return length < SHORTEST ? { length: 0, distance } : { length, distance };
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
