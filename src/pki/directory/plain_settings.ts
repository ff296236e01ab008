/**
 * Reads a config.yaml that is written as `tls init` writes it, without the YAML parser: loading
 * that, in two threads, takes a tenth of the time of a whole `tls mint`.
 *
 * @returns nothing where anything is laid out in another way, for the parser to read.
 */
export function readPlain(text: string): Record<string, unknown> | undefined {
  const document: Record<string, unknown> = {};
  let target = document;
  for (const line of text.split("\n")) {
    if (line === "" || line.startsWith("#")) continue;
    const parts = /^( {2})?([a-z_]+):(?: (\S.*))?$/.exec(line);
    if (parts === null) return undefined;
    const [, indent, key, written] = parts as unknown as [string, string?, string?, string?];
    if (indent === undefined) target = document;
    else if (target === document) return undefined;
    if (key! in target) return undefined;
    if (written === undefined) {
      if (indent !== undefined) return undefined;
      document[key!] = target = {};
      continue;
    }
    const value = plainValue(written);
    if (value === undefined) return undefined;
    target[key!] = value;
    if (indent === undefined) target = document;
  }
  return document;
}

function plainValue(text: string): boolean | number | string | string[] | undefined {
  if (text === "true" || text === "false") return text === "true";
  if (/^[1-9]\d{0,6}$/.test(text)) return Number(text);
  if (text === "[]") return [];
  if (text.startsWith("[") && text.endsWith("]")) {
    const items = text.slice(1, -1).split(", ").map(plainText);
    return items.every((item) => item !== undefined) ? items : undefined;
  }
  return plainText(text);
}

/** A text that means itself in YAML too: a path or a name, or anything simple in quotes. */
function plainText(text: string): string | undefined {
  const quoted = /^"([A-Za-z0-9_.:*-]+)"$/.exec(text)?.[1];
  if (quoted !== undefined) return quoted;
  const isPlain = /^[A-Za-z/][A-Za-z0-9/_.-]*$/.test(text);
  // What these mean differs between versions of YAML.
  const isWord = /^(true|false|null|yes|no|on|off|y|n)$/i.test(text);
  return isPlain && !isWord ? text : undefined;
}
