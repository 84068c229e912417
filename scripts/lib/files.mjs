// Copies folders without touching what has not changed: a file is written beside its place and renamed into it, so that
// a reader never sees half of one, and equal files keep their times.

import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { basename, dirname, join, relative } from "node:path";
import { page } from "./markdown.mjs";
import { dist, fromRoot, site } from "./paths.mjs";

/** Every file below `folder`, as a path relative to it. */
export function filesBelow(folder) {
  if (!existsSync(folder)) return [];
  return readdirSync(folder, { withFileTypes: true, recursive: true })
    .filter((entry) => entry.isFile())
    .map((entry) => relative(folder, join(entry.parentPath, entry.name)))
    .sort();
}

/** Makes `folder` hold exactly `files` (a Map from relative path to content). */
export function fillFolder(folder, files) {
  for (const [path, content] of files) {
    const place = join(folder, path);
    const bytes = Buffer.from(content);
    if (existsSync(place) && readFileSync(place).equals(bytes)) continue;
    mkdirSync(dirname(place), { recursive: true });
    const beside = `${place}.${process.pid}.tmp`;
    writeFileSync(beside, bytes);
    renameSync(beside, place);
  }
  for (const path of filesBelow(folder)) {
    if (!files.has(path) && !path.endsWith(".tmp")) rmSync(join(folder, path));
  }
}

/**
 * The page with the package and the documentation beside it, as the broker serves them with `--www`; and the tarball of
 * the package, to be installed from there. Gives the folder.
 */
export function assembleSite(tarball) {
  const files = new Map();
  const add = (folder, prefix) => {
    for (const path of filesBelow(folder)) files.set(join(prefix, path), readFileSync(join(folder, path)));
  };
  add(fromRoot("www"), "");
  add(dist, "antiphon");
  for (const [path, html] of documentation()) files.set(path, html);
  if (tarball) files.set("antiphon.tgz", readFileSync(tarball));
  fillFolder(site, files);
  return site;
}

/**
 * The README and the pages of docs/ as HTML, and what else is in that folder, such as pictures; by their path in the
 * site. Links to anything else are left out.
 */
function documentation() {
  const sources = filesBelow(fromRoot("docs")).map((name) => join("docs", name));
  const places = new Map(sources.map((source) => [source, source.replace(/\.md$/, ".html")]));
  places.set("README.md", "docs/readme.html");
  return Array.from(places, ([source, place]) => {
    const link = (target) => {
      const [path, fragment] = target.split("#");
      if (/^\w+:/.test(target) || path === "") return target;
      const other = places.get(join(dirname(source), path));
      return other && `${basename(other)}${fragment === undefined ? "" : `#${fragment}`}`;
    };
    const content = readFileSync(fromRoot(source));
    return [place, source.endsWith(".md") ? page(content.toString(), link) : content];
  });
}
