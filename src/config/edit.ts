import { UserError } from "../base/errors.ts";
import { parseFile } from "./file.ts";
import { type ConfigKey, configKeys, settingOf } from "./schema.ts";

/**
 * Sets one key in the text of a configuration file, and keeps everything else: comments, order, other
 * keys. Works on lines, because a YAML writer would drop comments; the result is read again, and
 * an edit that changed anything else is refused.
 *
 * @param texts the value as it is written; several of a list.
 * @throws {UserError} where the file is not valid, or written in a way that cannot be edited.
 */
export function setInFile(path: string, text: string, key: ConfigKey, texts: string[]): string {
  const before = parseFile(path, text);
  const [section, name] = key.split(".") as [string, string];
  const value = settingOf(key).repeat ? `[${texts.map(scalar).join(", ")}]` : scalar(texts[0]!);
  const [broken] = before.problems.filter(({ message }) => message.includes("not valid YAML"));
  if (broken !== undefined) {
    throw new UserError(broken.message, { next: `Fix ${path} first: agent config check` });
  }
  const edited = edit(text, section, name, value);
  if (edited !== undefined && isOnly(key, texts, path, text, edited)) return edited;
  throw new UserError(`Could not change "${key}" in ${path}, because of how the file is written`, {
    next: `Write it by hand, below "${section}:" as "  ${name}: ${value}"`,
  });
}

/** Whether the key has the new value, and every other key the one that it had. */
function isOnly(
  key: ConfigKey,
  texts: string[],
  path: string,
  before: string,
  after: string,
): boolean {
  const [old, now] = [parseFile(path, before), parseFile(path, after)];
  const wanted = settingOf(key).repeat ? texts : texts[0];
  const same = (a: unknown, b: unknown) => JSON.stringify(a) === JSON.stringify(b);
  return same(now.values.get(key)?.text, wanted) &&
    now.problems.length <= old.problems.length &&
    configKeys.every((other) =>
      other === key || same(old.values.get(other)?.text, now.values.get(other)?.text)
    );
}

function edit(text: string, section: string, name: string, value: string): string | undefined {
  const lines = text.split("\n");
  const at = lines.findIndex((line) => new RegExp(`^["']?${section}["']?\\s*:`).test(line));
  if (at < 0) return appended(text, `${section}:\n  ${name}: ${value}\n`);
  const [, head, rest = ""] = /^([^:]*:)(.*)$/.exec(lines[at]!)!;
  const inline = rest.trim();
  if (inline.startsWith("{")) {
    const changed = inFlow(rest, name, value);
    if (changed === undefined) return undefined;
    lines[at] = head + changed;
    return lines.join("\n");
  }
  if (inline !== "" && !inline.startsWith("#")) return undefined;
  return inBlock(lines, at, name, value).join("\n");
}

function appended(text: string, more: string): string {
  return text === "" || text.endsWith("\n") ? text + more : `${text}\n${more}`;
}

/** ` { insecure: true } # why` on the line of the section. */
function inFlow(rest: string, name: string, value: string): string | undefined {
  const [, open, inside = "", close] = /^(\s*\{)([^{}]*)(\}.*)$/.exec(rest) ?? [];
  if (open === undefined || close === undefined) return undefined;
  const known = new RegExp(
    `(^|,)(\\s*["']?${name}["']?\\s*:\\s*)(\\[[^\\]]*\\]|[^,\\[\\]]*?)(\\s*)(?=,|$)`,
  );
  if (known.test(inside)) {
    return open + inside.replace(known, (_, a, b, _old, d) => a + b + value + d) + close;
  }
  const kept = inside.trim().replace(/,$/, "");
  return `${open} ${kept === "" ? "" : `${kept}, `}${name}: ${value} ${close}`;
}

/** The lines of a section in block style, with the key replaced, or added below the section. */
function inBlock(lines: string[], section: number, name: string, value: string): string[] {
  const key = new RegExp(`^(\\s+)["']?${name}["']?\\s*:(.*)$`);
  const end = lines.findIndex((line, at) => at > section && /^[^\s#]/.test(line));
  const last = end < 0 ? lines.length : end;
  const at = lines.findIndex((line, i) => i > section && i < last && key.test(line));
  const first = lines.slice(section + 1, last).find((line) => /^\s+[^\s#]/.test(line));
  const indent = /^\s+/.exec(first ?? "")?.[0] ?? "  ";
  if (at < 0) return lines.toSpliced(section + 1, 0, `${indent}${name}: ${value}`);
  const [, own = indent, old = ""] = key.exec(lines[at]!)!;
  const comment = /(?:^|\s)#.*$/.exec(
    old.replace(/"(?:[^"\\]|\\.)*"|'[^']*'/, (quoted) => "x".repeat(quoted.length)),
  )?.[0].trim();
  const shown = comment === undefined ? "" : ` ${old.slice(old.length - comment.length)}`;
  // The old value may continue on deeper lines, and on list items at the same depth.
  let next = at + 1;
  while (next < last && new RegExp(`^${own}(\\s+\\S|- )`).test(lines[next]!)) next++;
  return lines.toSpliced(at, next - at, `${own}${name}: ${value}${shown}`);
}

/** A scalar as YAML reads it back: quoted where it could be taken for something else. */
function scalar(text: string): string {
  const isPlain = /^[A-Za-z0-9_./][A-Za-z0-9_./:@+=-]*$/.test(text) && !text.endsWith(":") &&
    !/^(null|~)$/i.test(text);
  return isPlain ? text : JSON.stringify(text);
}
