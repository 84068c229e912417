/** A queue: `take` waits until there is something. */
export class Queue {
  #items = [];
  #takers = [];

  put(item) {
    const taker = this.#takers.shift();
    if (taker) taker(item);
    else this.#items.push(item);
  }

  take() {
    return this.#items.length > 0 ? this.#items.shift() : new Promise((resolve) => this.#takers.push(resolve));
  }
}
