// The package as `npm pack` makes it from the built repository.

import { existsSync, mkdirSync, readFileSync, renameSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { filesBelow } from "./files.mjs";
import { fromRoot } from "./paths.mjs";
import { must } from "./run.mjs";

/** The tarball; in the packaging tests also the tools that only they need, and in `apps` the applications. */
export const folder = fromRoot("build", "package");
const LISTING = join(folder, "tarball.json"); // what `npm pack` said of it

/**
 * The tarball, packed again only when something in it has changed.
 *
 * @returns {Promise<{ path: string, size: number, unpackedSize: number, files: { path: string, size: number }[] }>}
 */
export async function packed() {
  const changed = (path) => statSync(path).mtimeMs;
  if (existsSync(LISTING) && inputs().every((path) => changed(path) <= changed(LISTING))) {
    return JSON.parse(readFileSync(LISTING, "utf8"));
  }
  mkdirSync(folder, { recursive: true });
  const args = ["pack", "--json", "--ignore-scripts", "--loglevel=silent", "--pack-destination", folder];
  const [listing] = JSON.parse(await must("npm", args, { show: "failure" }));
  const tarball = { ...listing, path: join(folder, listing.filename) };
  const beside = `${LISTING}.${process.pid}`;
  writeFileSync(beside, JSON.stringify(tarball));
  renameSync(beside, LISTING);
  return tarball;
}

/** Everything that is packed; folders too, since their times show when files were removed. */
function inputs() {
  const { files } = JSON.parse(readFileSync(fromRoot("package.json"), "utf8"));
  const whole = ["package.json", ...files].map((name) => fromRoot(name));
  const below = (path) => (statSync(path).isDirectory() ? filesBelow(path).map((file) => join(path, file)) : []);
  return whole.flatMap((path) => [path, ...below(path)]);
}
