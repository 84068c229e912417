// The pages of docs/ as HTML, for those who read them where the broker serves them. Knows what these pages use of
// Markdown: headings, paragraphs, lists, tables, code, emphasis, links and pictures.

const escaped = (text) => text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll('"', "&quot;");

/** The fragment that addresses a heading, as repositories make it. */
export const anchor = (title) =>
  title
    .toLowerCase()
    .replace(/[^\w -]/g, "")
    .replaceAll(" ", "-");

/**
 * A page as an HTML document.
 *
 * @param {string} markdown
 * @param {(target: string) => string | undefined} link where a link leads; nowhere if undefined, then its text remains
 */
export function page(markdown, link) {
  const title = /^# (.+)$/m.exec(markdown)?.[1] ?? "";
  return `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'self'; img-src 'self' data:">
<title>${escaped(title.replaceAll("`", ""))} · Antiphon</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<link rel="icon" href="data:,">
<link rel="stylesheet" href="../style.css">
<body class="doc">
<nav aria-label="Antiphon"><a href="../">Try it</a> <a href="readme.html">Read me</a></nav>
<main>
${body(markdown, link)}
</main>
`;
}

function body(markdown, link) {
  const lines = markdown.split("\n");
  const html = [];
  const inline = (text) => spans(text, link);
  /** Takes lines as long as they match. */
  const take = (pattern) => {
    const taken = [];
    while (lines.length > 0 && pattern.test(lines[0])) taken.push(lines.shift());
    return taken;
  };
  while (lines.length > 0) {
    const line = lines.shift();
    const heading = /^(#+) (.+)$/.exec(line);
    if (line.trim() === "") continue;
    if (line.startsWith("```")) {
      html.push(`<pre tabindex="0"><code>${escaped(take(/^(?!```)/).join("\n"))}</code></pre>`);
      lines.shift();
    } else if (heading) {
      const [, { length }, text] = heading;
      html.push(`<h${length} id="${anchor(text)}">${inline(text)}</h${length}>`);
    } else if (line.startsWith("|")) {
      const [head, , ...rows] = [line, ...take(/^\|/)].map(cells);
      const row = (name) => (texts) => `<tr>${texts.map((text) => `<${name}>${inline(text)}</${name}>`).join("")}</tr>`;
      html.push(`<div class="table"><table>${row("th")(head)}\n${rows.map(row("td")).join("\n")}</table></div>`);
    } else if (/^([-*]|\d+\.) /.test(line)) {
      const name = /^\d/.test(line) ? "ol" : "ul";
      const items = [line, ...take(/^([-*]|\d+\.) |^ +\S/)].join("\n").split(/\n(?=(?:[-*]|\d+\.) )/);
      html.push(
        `<${name}>${items.map((item) => `<li>${inline(item.replace(/^\S+ /, ""))}</li>`).join("\n")}</${name}>`,
      );
    } else {
      html.push(`<p>${inline([line, ...take(/^(?!```|#|\||[-*] |\d+\. )\S/)].join("\n"))}</p>`);
    }
  }
  return html.join("\n");
}

/** The cells of a line of a table; a `\|` does not end one. */
const cells = (line) =>
  line
    .replace(/^\||\|\s*$/g, "")
    .split(/(?<!\\)\|/)
    .map((cell) => cell.trim().replaceAll("\\|", "|"));

function spans(text, link) {
  return text
    .split(/(`+[^`]+`+)/)
    .map((part, index) => (index % 2 === 1 ? `<code>${escaped(part.replace(/^`+|`+$/g, ""))}</code>` : part))
    .map((part, index) => (index % 2 === 1 ? part : escaped(part)))
    .join("")
    .replace(/\*\*([^*]+)\*\*/g, "<strong>$1</strong>")
    .replace(/(?<![\w*])\*([^*\s][^*]*)\*(?!\w)/g, "<em>$1</em>")
    .replace(/!\[([^\]]*)\]\(([^)]+)\)/g, (_, label, target) => `<img src="${link(target) ?? target}" alt="${label}">`)
    .replace(/\[([^\]]+)\]\(([^)]+)\)/g, (_, label, target) => {
      const href = link(target);
      return href === undefined ? label : `<a href="${href}">${label}</a>`;
    });
}
