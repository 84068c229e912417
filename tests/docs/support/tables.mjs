// Reads the tables of a documentation page.

/**
 * The rows of the tables in a section.
 *
 * @param {string} markdown
 * @param {string} heading of the section
 * @returns {Record<string, string>[]} by the titles of the columns
 */
export function tableIn(markdown, heading) {
  const section = markdown.split(/^(?=#{1,6} )/m).find((part) => part.split("\n")[0].replace(/^#+ /, "") === heading);
  if (section === undefined) throw new Error(`there is no section ${heading}`);
  const [titles, , ...rows] = section
    .split("\n")
    .filter((line) => line.startsWith("|"))
    .map(cells);
  return rows.map((row) => Object.fromEntries(titles.map((title, index) => [title, row[index]])));
}

function cells(line) {
  return line
    .split(/(?<!\\)\|/)
    .slice(1, -1)
    .map((cell) => cell.trim().replaceAll("\\|", "|"));
}

/** The texts in backquotes. */
export function names(cell) {
  return [...cell.matchAll(/`([^`]+)`/g)].map(([, name]) => name);
}
