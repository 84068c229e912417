// A broker with a configuration file.

import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { startBroker } from "../../support/broker.mjs";

/** The hash of the password `password`, of a kind that takes no time: only for tests. */
export const HASH = "$argon2id$v=19$m=64,t=1,p=1$MDEyMzQ1Njc4OWFiY2RlZg$c8unoZL1fMiTW9VzsIzI4XiLIjeYmhsk2dCIUg21RpY";

/** Starts a broker with this configuration, as {@link startBroker} does. `reload` gives it another one. */
export async function startConfigured(toml, args = []) {
  const folder = mkdtempSync(join(tmpdir(), "antiphon-configured-"));
  process.once("exit", () => rmSync(folder, { recursive: true, force: true }));
  const file = join(folder, "broker.toml");
  writeFileSync(file, toml);
  const broker = await startBroker(["--config", file, ...args]);
  const reload = (text) => {
    writeFileSync(file, text);
    broker.process.kill("SIGHUP");
  };
  return Object.assign(broker, { file, reload });
}
