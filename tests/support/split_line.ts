/** The words of a command line as a shell would split it; only quotes and backslashes are known. */
export function splitLine(line: string): string[] {
  const words: string[] = [];
  const word = /(?:'[^']*'|"(?:[^"\\]|\\.)*"|\\.|[^\s'"\\])+/g;
  for (const [raw] of line.matchAll(word)) {
    words.push(raw.replaceAll(
      /'([^']*)'|"((?:[^"\\]|\\.)*)"|\\(.)/g,
      (_, single?: string, double?: string, escaped?: string) =>
        single ?? double?.replaceAll(/\\(.)/g, "$1") ?? escaped ?? "",
    ));
  }
  return words;
}
