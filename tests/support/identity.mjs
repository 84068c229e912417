// What tests of identity need: configuration files with users and issuers of tokens, and tokens.

import { createHmac, generateKeyPairSync, randomBytes, sign } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { startBroker } from "./broker.mjs";

/** The hash of `secret`, as `antiphon-broker passwd` makes it. */
export const SECRET_HASH =
  "$argon2id$v=19$m=19456,t=2,p=1$HIezbds800CF3jK5BScQlw$mBdzMs3Tj7YeNXirReCNor2jvOedhS7luzk0j/NrNOE";

export const ISSUER = "https://id.example.com";
export const AUDIENCE = "antiphon";

/** A folder that is removed after the test `t`, with these files: names and contents. Returns a function that makes paths in it. */
export function folderWith(t, files) {
  const folder = mkdtempSync(join(tmpdir(), "antiphon-identity-"));
  t.after(() => rmSync(folder, { recursive: true }));
  const path = (name) => join(folder, name);
  for (const [name, content] of Object.entries(files)) writeFileSync(path(name), content);
  return path;
}

const ANONYMOUS = `
[anonymous]
roles = ["CLIENT"]
`;

/** A configuration with two users, whose password is `secret`, and anonymous sessions. */
export const USERS = `
proposed_properties = ["floor"]
${ANONYMOUS}
[[users]]
name = "ada"
password = "${SECRET_HASH}"
roles = ["CLIENT_CONTROL"]
properties = { team = "blue" }
[[users]]
name = "root"
password = "${SECRET_HASH}"
roles = ["ADMINISTRATOR"]
`;

/** A broker with this configuration, for as long as the test `t` or the suite runs. */
export async function configured(t, config, files = {}, args = []) {
  const path = folderWith(t, { "broker.toml": config, ...files });
  const broker = await startBroker(["--config", path("broker.toml"), ...args]);
  t.after(() => broker.stop());
  return Object.assign(broker, { file: path });
}

/** An issuer of tokens with a key for each algorithm. */
export class Issuer {
  /** For HS256. */
  secret = randomBytes(32).toString("base64");
  #keys = {
    RS256: generateKeyPairSync("rsa", { modulusLength: 2048 }),
    ES256: generateKeyPairSync("ec", { namedCurve: "P-256" }),
    EdDSA: generateKeyPairSync("ed25519"),
  };

  /** Its public keys, a JSON Web Key Set. */
  get jwks() {
    const keys = Object.entries(this.#keys).map(([alg, { publicKey }]) => {
      return { ...publicKey.export({ format: "jwk" }), alg, kid: alg, use: "sig" };
    });
    return JSON.stringify({ keys });
  }

  /** The public key of an algorithm, as text. */
  pem(alg) {
    return this.#keys[alg].publicKey.export({ format: "pem", type: "spki" });
  }

  /** A token with these claims besides the usual ones, good for `seconds`. */
  token(claims = {}, { alg = "HS256", seconds = 60, secret = this.secret, header = {} } = {}) {
    const exp = Date.now() / 1000 + seconds;
    const all = { iss: ISSUER, aud: AUDIENCE, sub: "ada", roles: ["CLIENT_CONTROL"], exp, ...claims };
    const message = `${encode({ alg, typ: "JWT", ...header })}.${encode(all)}`;
    return `${message}.${this.#sign(alg, secret, Buffer.from(message)).toString("base64url")}`;
  }

  #sign(alg, secret, message) {
    if (alg === "HS256") return createHmac("sha256", secret).update(message).digest();
    if (alg === "none") return Buffer.alloc(0);
    const { privateKey } = this.#keys[alg];
    if (alg === "ES256") return sign("sha256", message, { key: privateKey, dsaEncoding: "ieee-p1363" });
    return sign(alg === "RS256" ? "sha256" : null, message, privateKey);
  }
}

const encode = (object) => Buffer.from(JSON.stringify(object)).toString("base64url");

/** The table of an issuer in a configuration file. */
export const tokensTable = (keys, more = "") => `
[[tokens]]
issuer = "${ISSUER}"
audience = "${AUDIENCE}"
${keys}
principal_claim = "sub"
roles_claim = "roles"
${more}
`;
