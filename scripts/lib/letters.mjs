// Names the variables and private members of a minified program so that it compresses well. Whatever they are called, the
// program does the same; but functions that call theirs alike have more in common. That is half a kilobyte after gzip.

import { gzipSync } from "node:zlib";
import { Deflate } from "./deflate.mjs";
import { namesIn } from "./scopes.mjs";

/** Each round knows better than the one before what bytes cost. */
const ROUNDS = 3;
/** In each, the variables of a function get other names until none helps, or so many times all of them. */
const PASSES = 3;
/** So many of the names that are most frequent are tried for each. */
const FREQUENT = 16;
/** So many exchanges of two names that are used in many functions are tried, for each of which all is compressed. */
const EXCHANGES = 3000;

/** The same program with other names; the same ones each time. */
export function renamed(code) {
  const program = new Program(code);
  const before = program.meaning();
  program.nameWithinFunctions();
  program.nameBeyondFunctions();
  const result = program.text();
  if (new Program(result).meaning() !== before) throw new Error("a name stands for something else than before");
  return result;
}

class Program {
  #code;
  #places;
  #named;
  /** By scope, all whose names nothing else in there may have. */
  #inScope = new Map();
  /** The names that are most frequent within functions. */
  #frequent;

  constructor(code) {
    this.#code = code;
    this.#places = namesIn(code);
    this.#named = [...new Set(this.#places.map(({ named }) => named))];
    for (const named of this.#named) {
      for (const scope of named.scopes) this.#inScope.set(scope, [...(this.#inScope.get(scope) ?? []), named]);
    }
    const local = this.#places.map(({ named }) => named).filter(({ isFixed, outermost }) => !isFixed && outermost);
    const byName = [...grouped(local, ({ name }) => name)].sort(([, a], [, b]) => b.length - a.length);
    this.#frequent = byName.slice(0, FREQUENT).map(([name]) => name);
  }

  /** What each name stands for: what it is called if that is not ours, or else its number. */
  meaning() {
    const numbers = new Map(this.#named.map((named, index) => [named, named.isFixed ? named.name : index]));
    return this.#places.map(({ named }) => numbers.get(named)).join();
  }

  text(start = 0, end = this.#code.length, places = this.#places) {
    let text = "";
    let at = start;
    for (const place of places) {
      text += this.#code.slice(at, place.start) + place.named.name;
      at = place.end;
    }
    return text + this.#code.slice(at, end);
  }

  #size() {
    return gzipSync(this.text(), { level: 9 }).length;
  }

  /** Gives names to some, unless another one has such a name already; then, or if `isBetter` denies it, they keep theirs. */
  #rename(some, names, isBetter) {
    const before = some.map(({ name }) => name);
    some.forEach((named, index) => {
      named.name = names[index];
    });
    const isTaken = (named) =>
      [...named.scopes].some((scope) =>
        this.#inScope.get(scope).some((other) => other !== named && other.name === named.name),
      );
    if (!some.some(isTaken) && isBetter()) return true;
    some.forEach((named, index) => {
      named.name = before[index];
    });
    return false;
  }

  /** Finds names for what is declared in functions, after what was written before each of them. */
  nameWithinFunctions() {
    const deflate = new Deflate(2 * this.#code.length);
    const functions = this.#functions();
    let best = this.#size();
    let names = this.#named.map(({ name }) => name);
    for (let round = 0; round < ROUNDS; round++) {
      let at = 0;
      for (const { start, end, between, places, own } of functions) {
        deflate.write(Buffer.from(this.text(at, start, between)));
        at = end;
        const text = () => Buffer.from(this.text(start, end, places));
        let least = deflate.cost(text());
        const isBetter = () => {
          const cost = deflate.cost(text(), least);
          const isLess = cost < least;
          if (isLess) least = cost;
          return isLess;
        };
        for (let left = PASSES, goesOn = true; goesOn && left > 0; left--) goesOn = this.#improve(own, isBetter);
        deflate.write(text());
      }
      deflate.write(Buffer.from(this.#code.slice(at)));
      deflate.restart();
      if (this.#size() < best) {
        best = this.#size();
        names = this.#named.map(({ name }) => name);
      }
    }
    this.#named.forEach((named, index) => {
      named.name = names[index];
    });
  }

  /** The functions that are in no other one: what is declared in them, where names are in them and between them. */
  #functions() {
    const found = new Set(this.#named.map(({ outermost }) => outermost).filter(Boolean));
    const sorted = [...found].sort((a, b) => a.start - b.start);
    const within = (start, end) => this.#places.filter((place) => place.start >= start && place.end <= end);
    return sorted.map(({ start, end }, index) => ({
      start,
      end,
      between: within(sorted[index - 1]?.end ?? 0, start),
      places: within(start, end),
      own: this.#named.filter(({ outermost }) => outermost?.start === start),
    }));
  }

  /** Tries other names for what is declared in a function. Returns whether one was better. */
  #improve(own, isBetter) {
    const letters = [...new Set([...own.map(({ name }) => name), ...this.#frequent])];
    let goesOn = false;
    letters.forEach((a, index) => {
      for (const b of letters.slice(index + 1)) {
        const both = own.filter(({ name }) => name === a || name === b);
        const exchanged = both.map(({ name }) => (name === a ? b : a));
        if (both.length > 0 && this.#rename(both, exchanged, isBetter)) goesOn = true;
      }
    });
    for (const one of own) {
      for (const letter of letters) {
        if (letter !== one.name && this.#rename([one], [letter], isBetter)) goesOn = true;
      }
    }
    return goesOn;
  }

  /** Exchanges names of top-level variables, and those of the private members of a class, if all is smaller then. */
  nameBeyondFunctions() {
    let least = this.#size();
    const isBetter = () => {
      left--;
      const size = this.#size();
      const isLess = size < least;
      if (isLess) least = size;
      return isLess;
    };
    let left = EXCHANGES;
    for (const pair of shuffled(this.#pairs())) {
      if (left > 0) this.#rename(pair, [pair[1].name, pair[0].name], isBetter);
    }
  }

  #pairs() {
    const beyond = this.#named.filter(({ isFixed, outermost }) => !isFixed && !outermost);
    const groups = grouped(beyond, ({ name, scopes }) => (name.startsWith("#") ? [...scopes][0] : undefined));
    return [...groups.values()].flatMap((group) =>
      group.flatMap((a, index) => group.slice(index + 1).map((b) => [a, b])),
    );
  }
}

/** Lists of items by what `keyOf` gives for them. */
function grouped(items, keyOf) {
  const groups = new Map();
  for (const item of items) {
    const key = keyOf(item);
    if (groups.has(key)) groups.get(key).push(item);
    else groups.set(key, [item]);
  }
  return groups;
}

/** The same in another order, which is always the same one. */
function shuffled(items) {
  let number = 1;
  const keyed = items.map((item) => {
    number = (number * 1_103_515_245 + 12_345) % 2 ** 31;
    return { item, key: number };
  });
  return keyed.sort((a, b) => a.key - b.key).map(({ item }) => item);
}
