import { dirname } from "node:path";
import { UsageError } from "../base/errors.ts";
import { nearest } from "../base/suggest.ts";
import type { ConfigFile, FileValue, Problem } from "./file.ts";
import { InvalidValue, type Kind } from "./kinds.ts";
import {
  type Config,
  type ConfigKey,
  configKeys,
  type ConfigValues,
  flagOf,
  type Host,
  type Origin,
  otherVariables,
  schema,
  variableOf,
} from "./schema.ts";

export interface Sources {
  /** Values of flags by key, as typed. */
  flags: ReadonlyMap<ConfigKey, string>;
  /** The environment: what is set of `AGENT_*`. */
  variables: Readonly<Record<string, string>>;
  /** The configuration file as `parseFile` read it, if there is one. */
  file: ConfigFile | undefined;
  /** What relative paths of flags and variables are meant from. */
  workingFolder: string;
  host: Host;
}

export interface Loaded extends Findings {
  config: Config;
}

/** What was found wrong or odd on the way. */
export interface Findings {
  /** Nothing may start while there is one. */
  problems: Problem[];
  warnings: string[];
  /** `AGENT_*` variables that mean nothing to us, each with the nearest known name if any. */
  unknownVariables: { name: string; nearest?: string }[];
}

/** Flags win over the environment, that over the file, that over the defaults. Pure. */
export function loadConfig(sources: Sources): Loaded {
  const { flags, variables, file, workingFolder, host } = sources;
  const warnings: string[] = [];
  const problems = [...file?.problems ?? []];
  const values: Record<string, unknown> = {};
  const origins: Record<string, Origin> = {};

  for (const key of configKeys) {
    const spec = schema[key];
    const variable = variableOf(key);
    const candidates: (Candidate | undefined)[] = [
      flag(flags.get(key), `--${flagOf(key)}`, workingFolder),
      environment(variables[variable], variable, workingFolder),
      inFile(file?.values.get(key), key, file?.path ?? ""),
    ];
    for (const candidate of candidates) {
      if (candidate === undefined) continue;
      if (isServiceLink(key, candidate)) {
        warnings.push(
          `Ignored ${candidate.name}="${candidate.text}": a Kubernetes service link, not a port`,
        );
        continue;
      }
      // Checked even where a stronger source has set it: a wrong value is wrong.
      const read = attempt(spec.kind, candidate);
      if ("problem" in read) problems.push(read.problem);
      else if (!(key in values)) [values[key], origins[key]] = [read.value, candidate.origin];
    }
    if (!(key in values)) {
      [values[key], origins[key]] = [
        spec.default(host, values as unknown as ConfigValues),
        "default",
      ];
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

/** The configuration, or an error that tells the first problem and how many more there are. */
export function requireSound({ config, problems }: Loaded): Config {
  const [first, ...more] = problems;
  if (first === undefined) return config;
  const rest = more.length === 0 ? "" : ` (and ${more.length} more: agent config check)`;
  throw new UsageError(first.message + rest, {
    code: "configuration",
    ...(first.next === undefined ? {} : { next: first.next }),
  });
}

/** A new configuration with some values from another origin. */
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
  text: string;
  /** What relative paths are meant from. */
  folder: string;
  /** As the person knows it: a flag, a variable, a key and line of a file. */
  name: string;
  origin: Origin;
}

function flag(text: string | undefined, name: string, folder: string): Candidate | undefined {
  return text === undefined ? undefined : { text, folder, name, origin: "flag" };
}

/** A variable that is set to nothing counts as not set, as compose files and units leave them. */
function environment(text: string | undefined, name: string, folder: string) {
  return text === undefined || text === ""
    ? undefined
    : { text, folder, name, origin: "environment" as const };
}

function inFile(value: FileValue | undefined, key: ConfigKey, path: string) {
  if (value === undefined) return undefined;
  const name = `"${key}" in ${path}${value.line === undefined ? "" : `:${value.line}`}`;
  return { text: value.text, folder: dirname(path), name, origin: "file" as const };
}

function attempt(
  kind: Pick<Kind<unknown>, "parse">,
  { text, folder, name }: Candidate,
): { value: unknown } | { problem: Problem } {
  try {
    return { value: kind.parse(text, folder) };
  } catch (error) {
    if (!(error instanceof InvalidValue)) throw error;
    return { problem: { message: `${name} is ${JSON.stringify(text)}, must be ${error.wanted}` } };
  }
}

/** Kubernetes sets AGENT_COORDINATOR_PORT=tcp://… for a service named agent-coordinator. */
function isServiceLink(key: ConfigKey, { text, origin }: Candidate): boolean {
  return origin === "environment" && key.endsWith("port") && /^(tcp|udp|sctp):\/\//.test(text);
}

function unknownVariables(variables: Readonly<Record<string, string>>) {
  const known = [...configKeys.map(variableOf), ...otherVariables];
  return Object.keys(variables).filter((name) => !known.includes(name)).sort().map((name) => {
    const near = nearest(name, known);
    return { name, ...(near === undefined ? {} : { nearest: near }) };
  });
}
