// What is to be reached: ratios within one run, each with its bound.

const PEERS = ["nats", "socketio", "diffusion"];

/**
 * The marks about which there are figures.
 *
 * @param {import("./results.mjs").Results} results
 * @returns {{ text: string, value: number, atMost?: number, atLeast?: number, isReached: boolean }[]}
 */
export function marksOf(results) {
  const ratio = (cell, key, base, system = "ours") => results.ratio(system, cell, key, base);
  const ofPeers = (pick, cell, key) => {
    const ratios = PEERS.map((peer) => ratio(cell, key, peer)).filter((value) => value !== undefined);
    return ratios.length > 0 ? pick(...ratios) : undefined;
  };
  // A run may lack the system without batches.
  const single = results.has("ours-unbatched") ? "ours-unbatched" : "ours";
  const unbatched = (cell, key, base) => ratio(cell, key, base, single);
  const within = (cell, key, base) => results.within("ours", cell, key, base);
  const sizes = { "1 KB": "size-1K", "16 KB": "size-16K", "256 KB": "size-256K" };

  const marks = [
    atMost(1.15, "one at a time, median, to the relay with JSON", ratio("latency", "p50", "floor-json")),
    atMost(1, "one at a time, median, to the fastest peer", ofPeers(Math.max, "latency", "p50")),
    atLeast(
      0.95,
      "without batches, 256 in flight, to the relay with JSON",
      unbatched("throughput-256", "rate", "floor-json"),
    ),
    atMost(
      1.15,
      "without batches, requester's main thread, likewise",
      unbatched("cpu-piped", "requesterTask", "floor-json"),
    ),
    atMost(
      1.15,
      "without batches, handler's main thread, likewise",
      unbatched("cpu-piped", "handlerTask", "floor-json"),
    ),
    atLeast(2, "16 in flight, to NATS", ratio("throughput-16", "rate", "nats")),
    atLeast(3, "256 in flight, to NATS", ratio("throughput-256", "rate", "nats")),
    atLeast(3, "4,096 in flight, to NATS", ratio("throughput-4096", "rate", "nats")),
    atMost(0.25, "requester's main thread, to NATS", ratio("cpu-piped", "requesterTask", "nats")),
    ...Object.entries(sizes).flatMap(([size, cell]) => [
      atLeast(0.9, `${size} each, to the relay with JSON`, ratio(cell, "rate", "floor-json")),
      atLeast(1, `${size} each, to the fastest peer`, ofPeers(Math.min, cell, "rate")),
    ]),
    atMost(0.7, "100 answers, to socket.io", ratio("fan-out", "p50", "socketio")),
    atMost(1, "broker's processor time, 1 in flight each, to NATS", ratio("load", "cpu1", "nats")),
    atMost(1, "broker's processor time, 16 in flight each, to NATS", ratio("load", "cpu16", "nats")),
    atMost(2, "broker's processor time, 1 in flight each, to the relay", ratio("load", "cpu1", "floor")),
    atMost(2, "broker's processor time, 16 in flight each, to the relay", ratio("load", "cpu16", "floor")),
    atMost(10, "memory for each of 10,000 idle connections, KiB", results.median("ours", "idle", "each10000")),
    atMost(1.1, "memory when they have left, to that before", within("idle", "end", "start")),
    atMost(
      3,
      "light traffic, 99th percentile, to that without a request to 5,000",
      within("light", "beside", "without"),
    ),
    atMost(
      0,
      "growth of the WebAssembly's memory in 1,000,000 requests, bytes",
      results.median("ours", "leak", "wasm"),
    ),
    atMost(65_536, "requester's heap, bytes in 100,000 requests", results.median("ours", "leak", "requesterHeap")),
    atMost(65_536, "handler's heap, likewise", results.median("ours", "leak", "handlerHeap")),
  ];
  return marks.filter(({ value }) => value !== undefined);
}

const atMost = (bound, text, value) => ({ text, value, atMost: bound, isReached: value <= bound });
const atLeast = (bound, text, value) => ({ text, value, atLeast: bound, isReached: value >= bound });
