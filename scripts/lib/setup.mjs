// Installs what building and testing need. Each function looks first and acts only if it must, so that calling it again
// costs next to nothing.

import { existsSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join, relative } from "node:path";
import { findChromedriver, findChromium, findFirefox, findWebKit, findXvfb, onPath } from "./browsers.mjs";
import { fromRoot, root, wasmBindgen } from "./paths.mjs";
import { cargo, Failure, must, run, say } from "./run.mjs";

const PYTHON_CLIENT = "diffusion==6.12.2";
const FUZZER = "cargo-fuzz@0.13.2";
const CONFORMANCE = "kosoku==0.1.0";

/** Node packages, from package-lock.json. They are build tools only, and none gets to run an install script. */
export async function nodeModules() {
  const [major, minor] = process.versions.node.split(".").map(Number);
  if (major < 20 || (major === 20 && minor < 12)) {
    throw new Failure(`Node.js ${process.versions.node} is too old: install version 20.12 or later`);
  }
  const changed = (path) => (existsSync(path) ? statSync(path).mtimeMs : 0);
  if (changed(fromRoot("node_modules", ".package-lock.json")) >= changed(fromRoot("package-lock.json"))) return;
  say("npm ci: fetching the build tools (about 10 s)");
  await must("npm", ["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]);
}

/** Rust, recent enough, with its standard library for WebAssembly, and what the broker's allocator is built with. */
export async function rust() {
  const [, wanted] = /^rust-version = "(.+)"$/m.exec(readFileSync(fromRoot("Cargo.toml"), "utf8"));
  const [, found] = / (\d+\.\d+)\./.exec(await must("rustc", ["--version"], { show: "failure" }));
  const minor = (version) => Number(version.split(".")[1]);
  if (minor(found) < minor(wanted)) throw new Failure(`Rust ${found} is too old, ${wanted} is needed: rustup update`);
  if (!onPath("make")) await installPackages("what the broker's allocator is built with", ["make"]);
  const installed = await must("rustup", ["target", "list", "--installed"], { show: "failure" });
  if (installed.includes("wasm32-unknown-unknown")) return;
  say("rustup: adding the target wasm32-unknown-unknown");
  await must("rustup", ["target", "add", "wasm32-unknown-unknown"]);
}

/** The bindings generator and the browser test runner, at the version that Cargo.lock pins. */
export async function bindgenTools() {
  say(`cargo: building the bindings generator${existsSync(wasmBindgen) ? "" : " (once, 1 to 2 minutes)"}`);
  await cargo("build", "--profile", "tools", "-p", "antiphon-tools", "--bins");
}

/** Chromium and ChromeDriver, through the distribution's package manager where we may. */
export async function browser() {
  if (!findChromium() || !findChromedriver()) {
    await installPackages("the browser for the tests", ["chromium", "chromium-driver"]);
  }
  say(`${findChromium()}, ${findChromedriver()}`);
}

/** Firefox and WebKitGTK likewise; whoever lacks one is told, and does without it. */
export async function otherBrowsers() {
  const wanted = {
    Firefox: { find: findFirefox, packages: ["firefox-esr"] },
    WebKitGTK: { find: () => findXvfb() && findWebKit(), packages: ["webkit2gtk-driver", "xvfb"] },
  };
  for (const [name, { find, packages }] of Object.entries(wanted)) await installIfAllowed(name, find, packages);
}

export const nginx = "/usr/sbin/nginx";
export const nginxStream = "/usr/lib/nginx/modules/ngx_stream_module.so";
export const haproxy = "/usr/sbin/haproxy";

/** nginx and HAProxy likewise, of which the tests run copies of their own. */
export async function proxies() {
  const wanted = {
    nginx: [nginx, "nginx-light"],
    "nginx, passing TLS on": [nginxStream, "libnginx-mod-stream"],
    HAProxy: [haproxy, "haproxy"],
  };
  for (const [name, [path, ...packages]] of Object.entries(wanted)) {
    await installIfAllowed(name, () => existsSync(path) && path, packages);
  }
}

/** What makes certificates for the tests. */
export async function openssl() {
  if (!onPath("openssl")) await installPackages("certificates for the tests", ["openssl"]);
}

/** Installs what cannot be found, or says loudly that it will not be tested. */
async function installIfAllowed(name, find, packages) {
  try {
    if (!find()) await installPackages(name, packages);
    say(find());
  } catch (error) {
    if (!(error instanceof Failure)) throw error;
    say(`\n*** ${name} IS NOT TESTED, since it is not installed ***\n${error.message}\n`);
  }
}

/** Whether there is nightly Rust. */
export async function hasNightly() {
  const { status } = await run("rustup", ["run", "nightly", "rustc", "--version"], { show: "nothing" });
  return status === 0;
}

/** Whether there is Miri, after an attempt to add it to nightly Rust. */
export async function miri() {
  const isThere = async () =>
    (await run("rustup", ["run", "nightly", "cargo", "miri", "--version"], { show: "nothing" })).status === 0;
  if (!(await hasNightly())) return false;
  if (await isThere()) return true;
  say("rustup: adding Miri to nightly Rust");
  await run("rustup", ["component", "add", "miri", "rust-src", "--toolchain", "nightly"]);
  return isThere();
}

/** The path of cargo-fuzz, which is built if need be. */
export async function fuzzer() {
  const found = onPath("cargo-fuzz");
  const folder = fromRoot("build", "tools");
  const path = found || join(folder, "bin", "cargo-fuzz");
  if (existsSync(path)) return path;
  say("cargo: building cargo-fuzz (once, 2 to 3 minutes)");
  await must("cargo", ["install", "--locked", "--root", folder, "--quiet", FUZZER]);
  return path;
}

/** A virtual environment with the official Python client, for the interoperability tests. */
export const pythonClient = () => virtualEnvironment(fromRoot("build", "venv"), PYTHON_CLIENT);

/** The Autobahn cases of conformance to WebSocket, in a virtual environment; returns the command, undefined without it. */
export async function conformance() {
  const folder = fromRoot("build", "conformance");
  try {
    await virtualEnvironment(folder, CONFORMANCE);
    return join(folder, "bin", "kosoku");
  } catch (error) {
    if (!(error instanceof Failure)) throw error;
    say(`\n*** CONFORMANCE TO WEBSOCKET IS NOT TESTED, since kosoku is not installed ***\n${error.message}\n`);
    return undefined;
  }
}

/** A virtual environment in `folder` with one package: `name==version`. */
export async function virtualEnvironment(folder, requirement) {
  const [stamp, python] = [join(folder, "client"), join(folder, "bin", "python")];
  if (existsSync(stamp) && readFileSync(stamp, "utf8") === requirement && existsSync(python)) return;
  say(`pip: installing ${requirement} into ${relative(root, folder)} (about 15 s)`);
  rmSync(folder, { recursive: true, force: true });
  const made = onPath("python3") && (await run("python3", ["-m", "venv", folder], { show: "failure" })).status === 0;
  if (!made) {
    await installPackages("Python's virtual environments", ["python3", "python3-venv"]);
    await must("/usr/bin/python3", ["-m", "venv", "--clear", folder], { show: "failure" });
  }
  await must(python, ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", requirement], {
    show: "failure",
  });
  writeFileSync(stamp, requirement);
}

/** Installs packages of the distribution, or says in one line which ones are missing. */
async function installPackages(purpose, packages) {
  const root = process.getuid?.() === 0;
  const asRoot = root ? [] : ["sudo", "-n"];
  const may = root || (onPath("sudo") && (await run("sudo", ["-n", "true"], { show: "failure" })).status === 0);
  const byHand = `${purpose}: install ${packages.join(" and ")} (Debian: apt-get install ${packages.join(" ")})`;
  if (!onPath("apt-get") || !may) throw new Failure(byHand);

  say(`apt-get: installing ${purpose} (${packages.join(", ")})`);
  const [command, ...args] = [...asRoot, "sh", "-c", INSTALL, "sh", ...packages];
  if ((await run(command, args, { show: "failure" })).status !== 0) throw new Failure(byHand);
}

/** Debian starts the services of a package that it installs, unless this program says no. */
const SERVICE_POLICY = "/usr/sbin/policy-rc.d";

/** Installs packages, and starts no service; where the machine has a policy for that, it holds. */
const INSTALL = `
  if [ ! -e ${SERVICE_POLICY} ]; then
    trap 'rm -f ${SERVICE_POLICY}' EXIT
    trap 'exit 1' HUP INT TERM
    printf '#!/bin/sh\\nexit 101\\n' > ${SERVICE_POLICY} && chmod 755 ${SERVICE_POLICY} || exit
  fi
  export DEBIAN_FRONTEND=noninteractive
  apt-get -qq update && apt-get -qq install -y --no-install-recommends "$@"`;
