// How much work something is, which is the same on a busy machine: the time that passes there is not.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";

const TICKS_PER_SECOND = 100; // of /proc; Linux has no other number on any machine

/** What this process, whose client it is, and the broker have worked, in ms; where nobody says so, what has passed. */
function worked({ process: { pid } }) {
  if (process.platform !== "linux") return performance.now();
  const { user, system } = process.cpuUsage();
  const [utime, stime] = /\) (?:\S+ ){11}(\d+) (\d+)/.exec(readFileSync(`/proc/${pid}/stat`, "utf8")).slice(1);
  return (user + system) / 1000 + ((Number(utime) + Number(stime)) * 1000) / TICKS_PER_SECOND;
}

/** Asserts that `act` is less work for us and the broker together than this, in ms. Resolves with what `act` does. */
export async function takesLess(limit, broker, act) {
  const before = worked(broker);
  const result = await act();
  const taken = worked(broker) - before;
  assert.ok(taken < limit, `${Math.round(taken)} ms of work, where ${limit} are too many`);
  return result;
}
