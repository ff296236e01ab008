import { messageOf } from "../base/errors.ts";
import { parse } from "@std/yaml";
import { suggestion } from "../base/suggest.ts";
import { type ConfigKey, configKeys, configSections, schema } from "./schema.ts";

export interface FileValue {
  text: string;
  /** From 1; undefined where the YAML is written in a way that we do not follow. */
  line: number | undefined;
}

/** One thing that is wrong, with what to do about it. */
export interface Problem {
  message: string;
  next?: string;
}

export interface ConfigFile {
  path: string;
  values: Map<ConfigKey, FileValue>;
  problems: Problem[];
}

/** Reads `config.yaml`: a mapping of sections, each a mapping of the names of its keys. */
export function parseFile(path: string, text: string): ConfigFile {
  const values = new Map<ConfigKey, FileValue>();
  const problems: Problem[] = [];
  const failed = (message: string, next: { next?: string } = {}) =>
    problems.push({ message, ...next });

  let document: unknown;
  try {
    document = parse(text, { schema: "core" });
  } catch (error) {
    const reason = messageOf(error).split("\n")[0]!;
    failed(`${path} is not valid YAML: ${reason.trim().replace(/[.:]$/, "")}`);
    return { path, values, problems };
  }
  if (document === null || document === undefined) return { path, values, problems };
  if (!isMapping(document)) {
    failed(`${path} must be a mapping such as "peer: {insecure: false}"`);
    return { path, values, problems };
  }
  for (const [section, content] of Object.entries(document)) {
    const at = (name?: string) => where(path, text, section, name);
    if (!(configSections as string[]).includes(section)) {
      const dotted = (configKeys as string[]).includes(section)
        ? { next: `Write it nested: ${section.replace(".", ": {")}: …}` }
        : suggestion(section, configSections, `Sections are ${configSections.join(", ")}`);
      failed(`Unknown section "${section}" in ${at()}`, dotted);
    } else if (content !== null && !isMapping(content)) {
      failed(`"${section}" in ${at()} must be a mapping`);
    } else {
      for (const [name, value] of Object.entries(content ?? {})) {
        const key = configKeys.find((known) => known === `${section}.${name}`);
        if (key === undefined) {
          const known = configKeys.filter((known) => known.startsWith(`${section}.`));
          failed(`Unknown key "${section}.${name}" in ${at(name)}`, {
            ...suggestion(`${section}.${name}`, known, "agent config show lists all keys"),
          });
          continue;
        }
        if (value === null) continue;
        const asText = schema[key].kind.fromYaml(value);
        if (asText === undefined) failed(`"${key}" in ${at(name)} has a value of the wrong type`);
        else values.set(key, { text: asText, line: lineOf(text, section, name) });
      }
    }
  }
  return { path, values, problems };
}

function isMapping(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value) &&
    !(value instanceof Date);
}

function where(path: string, text: string, section: string, name?: string): string {
  const line = lineOf(text, section, name);
  return line === undefined ? path : `${path}:${line}`;
}

/** The parser gives no positions: finds the line in block style, which is how people write it. */
function lineOf(text: string, section: string, name?: string): number | undefined {
  const lines = text.split("\n");
  const start = lines.findIndex((line) => keyOf(line) === section && !/^\s/.test(line));
  if (start < 0) return undefined;
  if (name === undefined) return start + 1;
  for (let i = start + 1; i < lines.length; i++) {
    const line = lines[i]!;
    if (/^[^\s#]/.test(line)) return undefined;
    if (keyOf(line) === name) return i + 1;
  }
  return undefined;
}

function keyOf(line: string): string | undefined {
  return /^\s*["']?([^\s"':#]+)["']?\s*:/.exec(line)?.[1];
}
