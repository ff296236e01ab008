import { dirname } from "node:path";
import { UsageError } from "../base/errors.ts";
import { nearest } from "../base/suggest.ts";
import type { ConfigFile, Problem } from "./file.ts";
import {
  type Config,
  type ConfigKey,
  configKeys,
  type ConfigValues,
  flagOf,
  type Host,
  type Origin,
  otherVariables,
  type Setting,
  settingOf,
  variablesOf,
} from "./schema.ts";
import { InvalidValue, parseValue, parseValues, showValue, splitList } from "./values.ts";

export interface Sources {
  /** Values of flags by key, as typed; several of a list. */
  flags: ReadonlyMap<ConfigKey, string | readonly string[]>;
  /** The environment: `AGENT_*`, and further names that the schema has. */
  variables: Readonly<Record<string, string>>;
  /** The configuration file as `parseFile` read it, if there is one. */
  file: ConfigFile | undefined;
  /** Folder that relative paths of flags and variables are resolved against. */
  workingFolder: string;
  host: Host;
}

export interface Loaded extends Findings {
  config: Config;
}

/** What was found wrong or odd while loading. */
export interface Findings {
  /** Nothing starts while there is one. */
  problems: Problem[];
  warnings: string[];
  /** The one of them that says that gRPC does not use the TLS directory, which is enabled. */
  idleDirectory?: string;
  /** `AGENT_*` variables without a meaning, each with the nearest known name if any. */
  unknownVariables: { name: string; nearest?: string }[];
}

/** Flags win over the environment, that over the file, that over the defaults. Pure. */
export function loadConfig(sources: Sources): Loaded {
  const { file, variables, host } = sources;
  const warnings: string[] = [];
  const problems = [...file?.problems ?? []];
  const values: Record<string, unknown> = {};
  const origins: Record<string, Origin> = {};
  const above = (key: string) => {
    if (!(key in values)) throw new TypeError(`"${key}" does not stand above in the schema`);
    return showValue(settingOf(key as ConfigKey), values[key]);
  };
  for (const key of configKeys) {
    const setting = settingOf(key);
    for (const candidate of candidatesFor(key, sources)) {
      if (isServiceLink(key, candidate)) {
        warnings.push(
          `Ignored ${candidate.name}="${candidate.text}": a Kubernetes service link, not a port`,
        );
        continue;
      }
      // Checked even where a stronger source has set it: a wrong value is wrong.
      const read = attempt(setting, candidate);
      if ("problem" in read) problems.push(read.problem);
      else if (!(key in values)) [values[key], origins[key]] = [read.value, candidate.origin];
    }
    if (!(key in values)) {
      [values[key], origins[key]] = [defaultOf(setting, host, above), "default"];
    }
  }
  return {
    config: freeze({
      values: values as unknown as ConfigValues,
      origins: origins as Config["origins"],
      file: file?.path,
    }),
    problems,
    warnings,
    unknownVariables: unknownVariables(variables),
  };
}

/** The configuration, or an error with the first problem and the number of others. */
export function requireSound({ config, problems }: Loaded): Config {
  const [first, ...more] = problems;
  if (first === undefined) return config;
  const rest = more.length === 0 ? "" : ` (and ${more.length} more: agent config check)`;
  throw new UsageError(first.message + rest, {
    code: "configuration",
    ...(first.next === undefined ? {} : { next: first.next }),
  });
}

/** A new configuration with some values replaced. */
export function withValues(
  config: Config,
  values: Partial<ConfigValues>,
  origin: Origin,
): Config {
  const origins = Object.fromEntries(Object.keys(values).map((key) => [key, origin]));
  return freeze({
    ...config,
    values: { ...config.values, ...values },
    origins: { ...config.origins, ...origins },
  });
}

function freeze(config: Config): Config {
  Object.values(config.values).forEach((value) => Object.freeze(value));
  Object.freeze(config.values);
  Object.freeze(config.origins);
  return Object.freeze(config);
}

interface Candidate {
  /** Items of a list where the source has them apart, else one text. */
  text: string | readonly string[];
  /** Folder that relative paths are resolved against. */
  folder: string;
  /** For errors: a flag, a variable, a key and line of a file. */
  name: string;
  origin: Origin;
}

/** The values of a key in all sources, the strongest first. */
function candidatesFor(key: ConfigKey, sources: Sources): Candidate[] {
  const { flags, variables, file, workingFolder: folder } = sources;
  const found: Candidate[] = [];
  const flag = flags.get(key);
  if (flag !== undefined) {
    // Each flag of a list may hold several items.
    const text = typeof flag === "string" ? flag : flag.join(",");
    found.push({ text, folder, name: `"--${flagOf(key)}"`, origin: "flag" });
  }
  for (const name of variablesOf(key)) {
    const text = variables[name];
    // A variable that is set to nothing counts as not set: compose files and units leave them so.
    if (text !== undefined && text !== "") {
      found.push({ text, folder, name, origin: "environment" });
    }
  }
  const value = file?.values.get(key);
  if (file !== undefined && value !== undefined) {
    const line = value.line === undefined ? "" : `:${value.line}`;
    const name = `"${key}" in ${file.path}${line}`;
    found.push({ text: value.text, folder: dirname(file.path), name, origin: "file" });
  }
  return found;
}

/**
 * Reads a value that was typed for a key; several of a list. Returns it as a file would have it:
 * items apart, paths absolute.
 *
 * @throws {UsageError} where it is not a value of that key.
 */
export function typedValue(key: ConfigKey, typed: readonly string[], folder: string): string[] {
  const setting = settingOf(key);
  const text = typed.join(setting.repeat ? "," : " ");
  const read = attempt(setting, { text, folder, name: `"${key}"`, origin: "flag" });
  if ("problem" in read) throw new UsageError(read.problem.message);
  if (setting.kind === "path") return [read.value].flat() as string[];
  return setting.repeat ? splitList(text) : [text];
}

function attempt(
  setting: Setting,
  { text, folder, name }: Candidate,
): { value: unknown } | { problem: Problem } {
  try {
    return { value: readSetting(setting, text, folder) };
  } catch (error) {
    if (!(error instanceof InvalidValue)) throw error;
    const shown = JSON.stringify(maskUrls(typeof text === "string" ? text : text.join(",")));
    return { problem: { message: `${name} is ${shown}, must be ${error.wanted}` } };
  }
}

/** Passwords and tokens that someone wrote into an address: messages go into logs and reports. */
function maskUrls(text: string): string {
  return text.replaceAll(/(?<=:\/\/)[^\/@\s]*@/g, "…@").replaceAll(
    /(?<=:\/\/[^\s?#]*)[?#]\S*/g,
    "?…",
  );
}

function readSetting(setting: Setting, text: Candidate["text"], folder?: string): unknown {
  if (!setting.repeat) return parseValue(setting, String(text), folder);
  const items = typeof text === "string" ? splitList(text) : text;
  if (setting.nonEmpty && items.length === 0) throw new InvalidValue("a list of at least one item");
  try {
    return parseValues(setting, items, folder);
  } catch (error) {
    if (!(error instanceof InvalidValue)) throw error;
    const isWhole = error.wanted.startsWith("a list");
    throw isWhole
      ? error
      : new InvalidValue(`a comma-separated list; each item must be ${error.wanted}`);
  }
}

/** A default is written as in any other source, and needs no folder: its paths are absolute. */
function defaultOf(setting: Setting, host: Host, above: (key: string) => string): unknown {
  const { default: text } = setting;
  if (text === undefined) return undefined;
  const written = typeof text === "string" ? text : text(host, above);
  const items = setting.repeat && splitList(written);
  return items ? parseValues(setting, items) : parseValue(setting, written);
}

/** Kubernetes sets AGENT_COORDINATOR_PORT=tcp://… for a service named agent-coordinator. */
function isServiceLink(key: ConfigKey, { text, origin }: Candidate): boolean {
  return origin === "environment" && key.endsWith("port") && /^(tcp|udp|sctp):\/\//.test(`${text}`);
}

function unknownVariables(variables: Readonly<Record<string, string>>) {
  const known = [...configKeys.flatMap(variablesOf), ...otherVariables];
  return Object.keys(variables).filter((name) => !known.includes(name)).sort().map((name) => {
    const near = nearest(name, known);
    return { name, ...(near === undefined ? {} : { nearest: near }) };
  });
}
