// A certificate authority that lives as long as a test, and certificates of it for this machine.

import { execFileSync } from "node:child_process";
import { createHash, X509Certificate } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const EC = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"];
export const KEYS = { ec: EC, rsa: ["-newkey", "rsa:2048"], ed25519: ["-newkey", "ed25519"] };

const openssl = (...args) => execFileSync("openssl", args, { stdio: ["ignore", "ignore", "pipe"] });

/** Makes an authority in a folder of its own, which is gone when `t` is over. */
export function startAuthority(t) {
  const folder = mkdtempSync(join(tmpdir(), "antiphon-authority-"));
  t.after(() => rmSync(folder, { recursive: true }));
  const at = (name) => join(folder, name);
  const authority = ["-keyout", at("ca.key"), "-out", at("ca.pem"), "-subj", "/CN=Antiphon test authority"];
  openssl("req", "-x509", ...EC, "-nodes", "-days", "2", ...authority, "-addext", "keyUsage=critical,keyCertSign");
  writeFileSync(at("names"), "subjectAltName=DNS:localhost,IP:127.0.0.1\nbasicConstraints=CA:FALSE\n");
  let made = 0;
  return {
    /** The file, and the text, of the certificate that others are to trust. */
    file: at("ca.pem"),
    ca: readFileSync(at("ca.pem"), "utf8"),
    /** Makes a key and a certificate: files for the broker, and what tells the certificate from others. */
    issue(kind = "ec") {
      const name = `${++made}-${kind}`;
      const [key, request, certificate] = ["key", "csr", "pem"].map((extension) => at(`${name}.${extension}`));
      openssl("req", "-new", ...KEYS[kind], "-nodes", "-keyout", key, "-out", request, "-subj", "/CN=localhost");
      const by = ["-CA", at("ca.pem"), "-CAkey", at("ca.key"), "-CAcreateserial", "-extfile", at("names")];
      openssl("x509", "-req", "-in", request, ...by, "-days", "2", "-out", certificate);
      const x509 = new X509Certificate(readFileSync(certificate));
      const spki = x509.publicKey.export({ type: "spki", format: "der" });
      return {
        certificate,
        key,
        fingerprint: x509.fingerprint256,
        /** As Chromium takes it for a certificate that it is to trust. */
        spki: createHash("sha256").update(spki).digest("base64"),
        /** For the command line of the broker. */
        args: ["--tls-certificate", certificate, "--tls-key", key],
      };
    },
  };
}
