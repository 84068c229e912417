// Numbers as if at random, and the same ones each time: what is built must not differ from one build to the next.

/** A function that gives whole numbers from 0 to less than `limit`. */
export function numbers(limit) {
  let state = 1;
  return () => {
    state = (state * 1_103_515_245 + 12_345) % 2 ** 31;
    return Math.floor((state / 2 ** 31) * limit);
  };
}
