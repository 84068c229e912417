// Puts the functions of a module in an order that compresses well: each is followed by the one, of those that are left,
// that has most in common with it. That is half a kilobyte after gzip, which looks back 32 KB and no further.

import { gzipSync } from "node:zlib";
import binaryen from "binaryen";
import { bodiesOf } from "./code.mjs";

/** What two functions may have in common is so many bytes long. */
const PIECE = 4;
/** The order depends on where it begins: the best of so many is taken. */
const BEGINNINGS = 40;

const FUNCTION = /^ \(func [\s\S]*?^ \)$/gm;

/** Functions with numbers below this one are named by a single byte. */
const SHORT = 128;

/** The same module with its functions in another order. Those that are named in one byte stay so: they are named often. */
export function ordered(module) {
  const text = module.emitText();
  const functions = text.match(FUNCTION);
  const bodies = bodiesOf(module.emitBinary()).map((body) => Buffer.from(body));
  if (functions.length !== bodies.length) throw new Error("the text of the module has other functions than its bytes");
  const short = SHORT - (module.getNumFunctions() - functions.length);
  const order = [...goodOrder(bodies, 0, short), ...goodOrder(bodies, short, bodies.length)];
  let place = 0;
  const result = binaryen.parseText(text.replace(FUNCTION, () => functions[order[place++]]));
  result.setFeatures(module.getFeatures());
  return result;
}

/** The numbers of the bodies from `start` to `end` in an order that compresses well; the same one each time. */
function goodOrder(all, start, end) {
  const bodies = all.slice(start, end);
  const common = inCommon(bodies.map(piecesOf));
  const bySize = bodies.map((_, index) => index).sort((a, b) => bodies[b].length - bodies[a].length);
  const orders = bySize.slice(0, BEGINNINGS).map((first) => chain(first, common));
  const sizes = orders.map(
    (order) => gzipSync(Buffer.concat(order.map((index) => bodies[index])), { level: 9 }).length,
  );
  return orders[sizes.indexOf(Math.min(...sizes))].map((index) => start + index);
}

function piecesOf(body) {
  const starts = Array.from({ length: Math.max(body.length - PIECE + 1, 0) }, (_, start) => start);
  return new Set(starts.map((start) => body.readUInt32LE(start)));
}

/** For each two functions, how many pieces they have in common; one that many have counts less. */
function inCommon(functions) {
  const owners = new Map();
  functions.forEach((pieces, index) => {
    for (const piece of pieces) owners.set(piece, [...(owners.get(piece) ?? []), index]);
  });
  const common = functions.map(() => new Float64Array(functions.length));
  for (const indexes of owners.values()) {
    for (const a of indexes) for (const b of indexes) common[a][b] += 1 / Math.log2(1 + indexes.length);
  }
  return common;
}

function chain(first, common) {
  const left = new Set(common.keys());
  const order = [];
  for (let next = first; next !== undefined; ) {
    left.delete(next);
    order.push(next);
    const likeIt = common[next];
    next = [...left].reduce((best, index) => (likeIt[index] > (likeIt[best] ?? -1) ? index : best), undefined);
  }
  return order;
}
