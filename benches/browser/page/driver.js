// Drives one client, in a page or in a Node.js process, and times what it does. Pages are cross-origin isolated, so their
// clock has steps of 5 microseconds.

import { requests } from "./payload.js";

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** Of a list of numbers: what p50, p99 and the others are. */
function distribution(times) {
  const sorted = Float64Array.from(times).sort();
  const at = (part) => sorted[Math.min(sorted.length - 1, Math.floor(part * sorted.length))];
  const mean = sorted.reduce((sum, time) => sum + time, 0) / sorted.length;
  return { count: sorted.length, mean, p50: at(0.5), p90: at(0.9), p99: at(0.99), p999: at(0.999), max: at(1) };
}

export class Driver {
  /** @param {object} client a module of `clients/` */
  static async open(client, url, options) {
    const driver = new Driver();
    driver.raw = client.raw ?? false;
    driver.connection = await client.connect(url, options);
    return driver;
  }

  echo(path) {
    return this.connection.handle(path, (request) => request);
  }

  /** A handler that is one of many at its path. */
  echoAmongMany(path) {
    const { handleAmongMany = this.connection.handle } = this.connection;
    return handleAmongMany(path, (request) => request);
  }

  close() {
    return this.connection.close();
  }

  /** A handler that does not answer, except below its path. */
  async hold(path) {
    await this.connection.handle(path, () => new Promise(() => {}));
    await this.echo(`${path}/echo`);
  }

  /** Requests that are not waited for; the server has them when this is done. */
  async askAndLeave({ path, bytes, outstanding }) {
    const { make } = requests(bytes, this.raw);
    for (let i = 0; i < outstanding; i++) this.connection.request(path, make()).catch(() => {});
    await this.connection.request(`${path}/echo`, make());
  }

  /** One request after the other. */
  async serial({ path, bytes, count }) {
    const { make, isAnswer } = requests(bytes, this.raw);
    const times = new Float64Array(count);
    let wrong = 0;
    for (let i = 0; i < count; i++) {
      const request = make();
      const start = performance.now();
      const response = await this.connection.request(path, request);
      times[i] = performance.now() - start;
      if (!isAnswer(request, response)) wrong++;
    }
    return { ...distribution(times), wrong };
  }

  /** `outstanding` requests at any time: `count` of them, or those of `ms` milliseconds after `warmUp` milliseconds. */
  async piped({ path, bytes, outstanding, count = Number.POSITIVE_INFINITY, warmUp = 0, ms }) {
    const { make, isAnswer } = requests(bytes, this.raw);
    let [begun, done, wrong, over] = [0, 0, 0, false];
    const ask = async () => {
      while (begun < count && !over) {
        begun++;
        const request = make();
        if (!isAnswer(request, await this.connection.request(path, request))) wrong++;
        done++;
      }
    };
    let start = performance.now();
    const asking = Promise.all(Array.from({ length: outstanding }, ask));
    let before = 0;
    if (ms !== undefined) {
      await sleep(warmUp);
      [start, before] = [performance.now(), done];
      await sleep(ms);
    } else {
      await asking;
    }
    const [seconds, counted] = [(performance.now() - start) / 1000, done - before];
    over = true;
    await asking;
    return { rate: counted / seconds, counted, seconds, total: done, wrong };
  }

  /** Requests to many handlers: the time until all have answered. */
  async fanOut({ path, bytes, handlers, warmUp, count }) {
    const { make } = requests(bytes, this.raw);
    const times = [];
    for (let i = -warmUp; i < count; i++) {
      const request = make();
      const start = performance.now();
      const responses = await this.connection.requestMany(path, request, handlers);
      if (i >= 0) times.push(performance.now() - start);
      if (responses.length !== handlers) throw new Error(`${responses.length} of ${handlers} answered`);
    }
    return { ...distribution(times), wrong: 0 };
  }

  /** Times from nothing to the first answer. */
  static async connectTimes(script, url, options, path) {
    const start = performance.now();
    const client = await import(script);
    const loaded = performance.now();
    const connection = await client.connect(url, options);
    const connected = performance.now();
    await connection.request(path, requests(64, client.raw).make());
    const answered = performance.now();
    await connection.close();
    return { load: loaded - start, connect: connected - loaded, first: answered - connected, total: answered - start };
  }
}

globalThis.bench = {
  open: async (script, url, options) => {
    bench.driver = await Driver.open(await import(script), url, options);
  },
  connectTimes: Driver.connectTimes,
  /** Makes this page's process the busy one. */
  spin: (ms) => {
    const end = performance.now() + ms;
    while (performance.now() < end);
  },
};
