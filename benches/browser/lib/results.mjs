// Records of cells, looked up and summed up: medians over the rounds, and ratios, which are taken within a round.

export const format = (value) =>
  Math.abs(value) >= 1000 ? Math.round(value).toLocaleString("en") : String(Number(value.toPrecision(3)));

export class Results {
  #records = new Map(); // by system and cell

  constructor(records) {
    for (const record of records) {
      const key = `${record.system} ${record.cell}`;
      this.#records.set(key, [...(this.#records.get(key) ?? []), record]);
    }
  }

  of(system, cell) {
    return this.#records.get(`${system} ${cell}`) ?? [];
  }

  has(system) {
    return [...this.#records.keys()].some((key) => key.startsWith(`${system} `));
  }

  /** @param {string} key of the figure; dots lead further in */
  median(system, cell, key) {
    return median(this.of(system, cell).map((record) => figure(record, key)));
  }

  /** To another system, in the same rounds. */
  ratio(system, cell, key, base) {
    const others = new Map(this.of(base, cell).map((record) => [record.round, figure(record, key)]));
    const ratios = this.of(system, cell).map((record) => figure(record, key) / others.get(record.round));
    return median(ratios.filter(Number.isFinite));
  }

  /** Of one figure of a cell to another one. */
  within(system, cell, key, base) {
    return median(this.of(system, cell).map((record) => figure(record, key) / figure(record, base)));
  }
}

const figure = (record, key) => key.split(".").reduce((value, name) => value?.[name], record);

export function median(numbers) {
  const sorted = numbers.filter((number) => number !== undefined).sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1
    ? sorted[middle]
    : sorted.length > 0
      ? (sorted[middle - 1] + sorted[middle]) / 2
      : undefined;
}
