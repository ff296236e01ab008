import { parse } from "@std/yaml";
import { messageOf } from "../base/errors.ts";
import { suggestion } from "../base/suggest.ts";
import { type ConfigKey, configKeys, configSections, type Setting, settingOf } from "./schema.ts";

export interface FileValue {
  /** As it is written; the items of a YAML list or mapping one by one. */
  text: string | string[];
  /** From 1; undefined where the YAML is not in block style. */
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
  const file: ConfigFile = { path, values: new Map(), problems: [] };
  let document: Node;
  try {
    document = readYaml(text);
  } catch (error) {
    const reason = messageOf(error).split("\n")[0]!;
    const message = `${path} is not valid YAML: ${reason.trim().replace(/[.:]$/, "")}`;
    return { ...file, problems: [{ message }] };
  }
  if (document.isNull) return file;
  if (!isMapping(document.written)) {
    const message = `${path} must be a mapping such as "peer: {insecure: false}"`;
    return { ...file, problems: [{ message }] };
  }
  for (const [section, content] of entries(document)) readSection(file, text, section, content);
  return file;
}

function readSection(file: ConfigFile, text: string, section: string, content: Node): void {
  const { problems, values } = file;
  const at = (name?: string) => where(file.path, text, section, name);
  if (!(configSections as string[]).includes(section)) {
    const [name, key] = section.split(".");
    const next = (configKeys as string[]).includes(section)
      ? { next: `Write it nested: ${name}: {${key}: …}` }
      : suggestion(section, configSections, `Sections are ${configSections.join(", ")}`);
    problems.push({ message: `Unknown section "${section}" in ${at()}`, ...next });
    return;
  }
  if (content.isNull) return;
  if (!isMapping(content.written)) {
    problems.push({ message: `"${section}" in ${at()} must be a mapping` });
    return;
  }
  for (const [name, value] of entries(content)) {
    const key = configKeys.find((known) => known === `${section}.${name}`);
    if (key === undefined) {
      const known = configKeys.filter((known) => known.startsWith(`${section}.`));
      problems.push({
        message: `Unknown key "${section}.${name}" in ${at(name)}`,
        ...suggestion(`${section}.${name}`, known, "agent config show lists all keys"),
      });
      continue;
    }
    if (value.isNull) continue;
    const found = textOf(settingOf(key), value);
    if (found !== undefined) values.set(key, { text: found, line: lineOf(text, section, name) });
    else problems.push({ message: `"${key}" in ${at(name)} has a value of the wrong type` });
  }
}

/** A part of the document, with every scalar as it is written. */
interface Node {
  written: unknown;
  /** By YAML's core schema, which tells `null` and booleans from texts. */
  read: unknown;
  isNull: boolean;
}

/**
 * Reads the text twice: with the core schema for types, and with the failsafe schema, which keeps
 * `007` and `12.10` as they are written.
 */
function readYaml(text: string): Node {
  return node(parse(text, { schema: "failsafe" }), parse(text, { schema: "core" }));
}

function node(written: unknown, read: unknown): Node {
  return { written, read, isNull: written === null || read === null };
}

function entries({ written, read }: Node): [string, Node][] {
  const known = read as Record<string, unknown>;
  return Object.entries(written as Record<string, unknown>)
    .map(([name, value]) => [name, node(value, Object.hasOwn(known, name) ? known[name] : value)]);
}

function isMapping(value: unknown): boolean {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** Undefined where YAML's type cannot be right for the setting. */
function textOf(setting: Setting, value: Node): string | string[] | undefined {
  const { written, read } = value;
  if (typeof written === "string") return scalar(setting, written, read);
  if (!setting.repeat) return undefined;
  if (Array.isArray(written)) {
    const items = written.map((item, at) => [item, (read as unknown[])[at]] as const);
    if (items.some(([item]) => typeof item !== "string")) return undefined;
    return items.map(([item, known]) => scalar(setting, item, known));
  }
  if (setting.kind !== "label" && setting.kind !== "resource") return undefined;
  const pairs = entries(value);
  if (pairs.some(([, item]) => typeof item.written !== "string")) return undefined;
  return pairs.map(([name, item]) => `${name}=${item.written}`);
}

/** YAML has several spellings of a boolean, such as `True`. */
function scalar({ kind }: Setting, written: string, read: unknown): string {
  return kind === "flag" && typeof read === "boolean" ? String(read) : written;
}

function where(path: string, text: string, section: string, name?: string): string {
  const line = lineOf(text, section, name);
  return line === undefined ? path : `${path}:${line}`;
}

/** Finds the line of a key in block style; the parser reports no positions. */
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
