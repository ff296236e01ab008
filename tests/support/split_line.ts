/**
 * Splits the first command of a line into words like a shell, with quotes and backslashes.
 * Redirections, and everything after a pipe or the command's end, are left out.
 */
export function splitLine(line: string): string[] {
  const words: string[] = [];
  const word = /(?:'[^']*'|"(?:[^"\\]|\\.)*"|\\.|[^\s'"\\])+/g;
  const raws = [...line.matchAll(word)].map(([raw]) => raw);
  for (let raw = raws.shift(); raw !== undefined; raw = raws.shift()) {
    if (/^(\||\|\||&&|;)$/.test(raw)) break;
    const redirection = /^\d?(<|>>?)(.*)$/.exec(raw);
    if (redirection !== null) {
      if (redirection[2] === "") raws.shift();
      continue;
    }
    words.push(raw.replaceAll(
      /'([^']*)'|"((?:[^"\\]|\\.)*)"|\\(.)/g,
      (_, single?: string, double?: string, escaped?: string) =>
        single ?? double?.replaceAll(/\\(.)/g, "$1") ?? escaped ?? "",
    ));
  }
  return words;
}
