// nginx and HAProxy in front of a broker, configured by a block of docs/proxies.md.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fromRoot } from "../../scripts/lib/paths.mjs";
import { haproxy, nginx, nginxStream } from "../../scripts/lib/setup.mjs";
import { freePort } from "./ports.mjs";

export const page = readFileSync(fromRoot("docs", "proxies.md"), "utf8");

const missing = (...files) => {
  const file = files.find((path) => !existsSync(path));
  return file && `there is no ${file}`;
};
export const withNginx = { skip: missing(nginx) };
export const withNginxStream = { skip: missing(nginx, nginxStream) };
export const withHaproxy = { skip: missing(haproxy) };

/** A folder for as long as the test, with a file of this content. */
function folderWith(t, name, text) {
  const folder = mkdtempSync(join(tmpdir(), "antiphon-proxy-"));
  t.after(() => rmSync(folder, { recursive: true }));
  writeFileSync(join(folder, name), text(folder));
  return folder;
}

/** Starts a program, and waits until it says this on stderr. It ends with the test. */
async function start(t, command, args, ready) {
  const child = spawn(command, args, { stdio: ["ignore", "ignore", "pipe"] });
  t.after(async () => {
    child.kill();
    await once(child, "close");
  });
  let said = "";
  for await (const text of child.stderr.iterator({ destroyOnReturn: false })) {
    said += text;
    if (said.includes(ready)) break;
  }
  child.stderr.resume();
  if (!said.includes(ready)) throw new Error(`${command}: ${said}`);
}

/** Under which heading of the page each configuration stands. */
const headings = {
  nginx: "nginx, which takes TLS off",
  "nginx-stream": "nginx, which passes TLS on",
  haproxy: "HAProxy, which takes TLS off",
  "haproxy-tcp": "HAProxy, which passes TLS on",
};

/** The configuration of a block, with the ports and files of a test instead of those of the page. */
function configuration(block, broker, port, identity) {
  const [, text] = new RegExp(`^## ${headings[block]}\\n+\`\`\`\\w+\\n(.*?)\`\`\``, "ms").exec(page);
  const replaced = text
    .replace(/(127\.0\.0\.1):(8080|8443)/g, `$1:${broker.port}`)
    .replace(/(127\.0\.0\.1):443/, `$1:${port}`);
  return identity ? replaced.replace("key.pem", identity.key).replace("cert.pem", identity.certificate) : replaced;
}

/**
 * nginx; `more` are further lines of its server.
 *
 * @returns its port, and what stands in its access log
 */
export async function startNginx(t, broker, { block = "nginx", identity, more = "" } = {}) {
  const port = await freePort();
  const server = configuration(block, broker, port, identity).replace("server {", `server { ${more}`);
  const folder = folderWith(t, "nginx.conf", (at) => {
    const paths = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map((of) => `${of}_temp_path ${at}/${of};`);
    const context =
      block === "nginx" ? `http { access_log ${at}/access.log; ${paths.join(" ")} ${server} }` : `stream { ${server} }`;
    const module = block === "nginx" ? "" : `load_module ${nginxStream};`;
    return `${module} daemon off; pid ${at}/pid; error_log stderr notice; events {} ${context}`;
  });
  await start(t, nginx, ["-c", join(folder, "nginx.conf"), "-p", folder], "start worker process");
  return { port, log: () => readFileSync(join(folder, "access.log"), "utf8") };
}

/** HAProxy. */
export async function startHaproxy(t, broker, { block = "haproxy", identity } = {}) {
  const port = await freePort();
  const folder = folderWith(t, "haproxy.cfg", (at) => {
    if (identity) {
      writeFileSync(
        join(at, "both.pem"),
        readFileSync(identity.certificate, "utf8") + readFileSync(identity.key, "utf8"),
      );
    }
    return configuration(block, broker, port).replace("both.pem", join(at, "both.pem"));
  });
  await start(t, haproxy, ["-W", "-f", join(folder, "haproxy.cfg")], "Loading success");
  return { port };
}
