// Numbers the locals of functions so that they compress well. Whatever a local is called, the code does the same; but a
// fifth of the compressed module is which local is meant, and functions that call theirs alike have more in common. That
// is 1.2 KB after gzip.

import { gzipSync } from "node:zlib";
import { bodyOf, functionsOf, localsOf, withBodies } from "./code.mjs";
import { Deflate } from "./deflate.mjs";

/** Each round knows better than the one before what bytes cost. */
const ROUNDS = 3;
/** In each, the locals of a function are exchanged until none helps, or so many times all of them. */
const EXCHANGES = 3;

/** The same module with other numbers of locals; the same ones each time. */
export function renumbered(bytes) {
  const functions = functionsOf(bytes).map(({ body, parameters }) => new Locals(localsOf(body), parameters));
  const deflate = new Deflate(2 * bytes.length);
  const before = bytes.subarray(0, functionsOf(bytes)[0].body.byteOffset - bytes.byteOffset);
  let best = bytes;
  for (let round = 0; round < ROUNDS; round++) {
    deflate.write(before);
    for (const each of functions) {
      each.improve(deflate);
      deflate.write(each.body());
    }
    const made = withBodies(
      bytes,
      functions.map((each) => each.body()),
    );
    if (sizeOf(made) < sizeOf(best)) best = made;
    deflate.restart();
  }
  return best;
}

function sizeOf(bytes) {
  return gzipSync(bytes, { level: 9 }).length;
}

/** The locals of a function, and their numbers. */
class Locals {
  #code;
  #parameters;
  /** For each local that is no parameter, its place among them. */
  #places;

  constructor(code, parameters) {
    this.#code = code;
    this.#parameters = parameters;
    this.#places = code.types.map((_, local) => local);
  }

  body(places = this.#places) {
    const types = [];
    places.forEach((place, local) => {
      types[place] = this.#code.types[local];
    });
    const first = this.#parameters;
    const numbers = this.#code.numbers.map((number) => (number < first ? number : first + places[number - first]));
    return bodyOf({ ...this.#code, types, numbers });
  }

  /** Finds places that cost less after what was written before. */
  improve(deflate) {
    let least = deflate.cost(this.body());
    const isBetter = (places) => {
      const cost = deflate.cost(this.body(places), least);
      if (cost >= least) return false;
      [least, this.#places] = [cost, places];
      return true;
    };
    isBetter(this.#byFirstUse());
    const count = this.#places.length;
    for (let left = EXCHANGES, goesOn = true; goesOn && left > 0; left--) {
      goesOn = false;
      for (let a = 0; a < count; a++) {
        for (let b = a + 1; b < count; b++) {
          const places = [...this.#places];
          [places[a], places[b]] = [places[b], places[a]];
          if (isBetter(places)) goesOn = true;
        }
      }
    }
  }

  #byFirstUse() {
    const own = this.#code.numbers.filter((number) => number >= this.#parameters);
    const order = [...new Set([...own.map((number) => number - this.#parameters), ...this.#places.keys()])];
    const places = [];
    order.forEach((local, place) => {
      places[local] = place;
    });
    return places;
  }
}
