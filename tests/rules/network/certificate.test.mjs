// A certificate that is replaced while the broker runs.

import assert from "node:assert/strict";
import { once } from "node:events";
import { copyFileSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import * as tls from "node:tls";
import { startAuthority } from "../../support/authority.mjs";
import { startBroker } from "../../support/broker.mjs";
import { clientFrame, openSession } from "../../support/raw.mjs";

test("N-5, V25: a new certificate holds from when the file is read again, and who is connected stays so", async (t) => {
  const authority = startAuthority(t);
  const [first, second, other] = [authority.issue(), authority.issue("rsa"), authority.issue()];
  const folder = mkdtempSync(join(tmpdir(), "antiphon-tls-"));
  t.after(() => rmSync(folder, { recursive: true }));
  const config = join(folder, "broker.toml");
  const files = `certificate = "${first.certificate}"\nkey = "${first.key}"\n`;
  writeFileSync(config, `[tls]\n${files}[anonymous]\nroles = ["CLIENT"]\n`);
  const broker = await startBroker(["--config", config]);
  t.after(() => broker.stop());
  const raw = { port: broker.port, ca: authority.ca, host: "127.0.0.1", servername: "localhost" };
  const session = await openSession(raw);

  /** What a newcomer is shown. */
  const shown = async () => {
    const socket = tls.connect(raw);
    await once(socket, "secureConnect");
    const { fingerprint256 } = socket.getPeerX509Certificate();
    socket.destroy();
    return fingerprint256;
  };
  const readAgain = async (certificate, key, says) => {
    copyFileSync(certificate, first.certificate);
    copyFileSync(key, first.key);
    broker.process.kill("SIGHUP");
    await broker.logged(says);
  };
  assert.equal(await shown(), first.fingerprint);
  await readAgain(
    other.certificate,
    second.key,
    /ERROR.*tls\.key: .* belongs to another certificate than the first one in /,
  );
  assert.equal(await shown(), first.fingerprint, "a key of another certificate changes nothing");
  await readAgain(second.certificate, second.key, /configuration read again changed=no setting; the files /);
  assert.equal(await shown(), second.fingerprint);

  session.send(clientFrame(0x89));
  await session.until(() => session.frames().some(({ opcode }) => opcode === 10));
  session.close();
});
