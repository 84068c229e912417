// What a process takes of the machine, as Linux tells it.

import { readFileSync, writeFileSync } from "node:fs";

const status = ({ process: { pid } }, field) =>
  Number(new RegExp(`^${field}:\\s+(\\d+)`, "m").exec(readFileSync(`/proc/${pid}/status`, "utf8"))[1]) / 1024;

/** MiB that are resident. */
export const resident = (broker) => status(broker, "VmRSS");

/** The most that were, in MiB, since {@link forgetPeak}. */
export const peak = (broker) => status(broker, "VmHWM");

export const forgetPeak = ({ process: { pid } }) => writeFileSync(`/proc/${pid}/clear_refs`, "5");
