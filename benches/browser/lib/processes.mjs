// What Linux says about processes: who they are, their processor time and memory, and how busy the machine is.

import { readdirSync, readFileSync } from "node:fs";

const TICK = 10; // ms, of the figures in /proc/stat

const lookAt = (path) => {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return ""; // it has ended
  }
};

function processes() {
  const found = [];
  for (const name of readdirSync("/proc")) {
    if (!/^\d+$/.test(name)) continue;
    const stat = lookAt(`/proc/${name}/stat`);
    if (stat === "") continue;
    // After the command, which may have spaces in it: state, parent, and so on.
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    // Its own time and that of the children it has waited for, for programs and for the kernel.
    const cpu = fields.slice(11, 15).reduce((sum, ticks) => sum + Number(ticks) * TICK, 0);
    found.push({ pid: Number(name), parent: Number(fields[1]), cpu });
  }
  return found;
}

/** The processes that a process has started, those that they have started, and so on. */
export const descendantsOf = (root) => treeOf(root, processes()).slice(1);

function treeOf(root, all) {
  const tree = [root];
  for (const pid of tree) tree.push(...all.filter(({ parent }) => parent === pid).map(({ pid }) => pid));
  return tree;
}

export const commandOf = (pid) => lookAt(`/proc/${pid}/cmdline`).replaceAll("\0", " ");

/** Processor time in ms, to the nanosecond: that of the threads which a process has now. */
export function cpuOf(pid) {
  let nanoseconds = 0;
  try {
    for (const thread of readdirSync(`/proc/${pid}/task`)) {
      nanoseconds += Number(lookAt(`/proc/${pid}/task/${thread}/schedstat`).split(" ")[0]);
    }
  } catch {
    // It has ended.
  }
  return nanoseconds / 1e6;
}

/** Resident memory in KiB. */
export const residentOf = (pid) => Number(/^VmRSS:\s+(\d+)/m.exec(lookAt(`/proc/${pid}/status`))?.[1] ?? 0);

/** Starts to watch the machine; the function that is returned says how many cores other programs have used since. */
export function watchOthers() {
  const look = () => {
    const [user, nice, system, , , irq, softirq] = lookAt("/proc/stat").split("\n")[0].trim().split(/\s+/).slice(1);
    const busy = [user, nice, system, irq, softirq].reduce((sum, ticks) => sum + Number(ticks) * TICK, 0);
    const all = processes();
    const ours = new Set(treeOf(process.pid, all));
    const own = all.reduce((sum, { pid, cpu }) => sum + (ours.has(pid) ? cpu : 0), 0);
    return { at: performance.now(), others: busy - own };
  };
  const before = look();
  return () => {
    const now = look();
    return Math.max(0, (now.others - before.others) / (now.at - before.at));
  };
}
