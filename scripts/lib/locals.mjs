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
  #types;
  #code;
  #uses;
  /** For each use of a local that is no parameter, which one; for each of these, its place among them. */
  #used;
  #places;
  #parameters;

  constructor({ types, code, places, many }, parameters) {
    this.#types = types;
    this.#code = Uint8Array.from(code);
    this.#parameters = parameters;
    this.#places = types.map((_, local) => local);
    this.#uses = many ? [] : places.filter((place) => code[place] >= parameters);
    this.#used = this.#uses.map((place) => code[place] - parameters);
  }

  body(places = this.#places) {
    const types = [];
    places.forEach((place, local) => {
      types[place] = this.#types[local];
    });
    this.#uses.forEach((use, index) => {
      this.#code[use] = this.#parameters + places[this.#used[index]];
    });
    return bodyOf({ types, code: this.#code });
  }

  /** Finds places that cost less after what was written before. */
  improve(deflate) {
    if (this.#uses.length === 0) return;
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
    const places = [];
    [...new Set([...this.#used, ...this.#places.keys()])].forEach((local, place) => {
      places[local] = place;
    });
    return places;
  }
}
