import type { Config, ConfigSection } from "../config/schema.ts";
import type { Findings } from "../config/load.ts";
import type { ValueOf, ValuesOf, ValueSpec } from "../config/values.ts";
import type { Env } from "../base/env.ts";
import type { RoleName } from "../sandbox/entries.ts";
import type { Grants } from "../sandbox/grants.ts";

/**
 * The shape of a subcommand: one file in `commands/`, named in `registry.ts`. `options` is the
 * single source of parsing, types, help and the reference; `run` returns data, which `--json`
 * prints as it is and `text` renders for people.
 *
 * The main thread parses the line, resolves the configuration and asks for `grants`; then it starts
 * a thread with exactly those grants, which calls `run` and `text`. A command without `grants` runs
 * in the main thread and must neither dial nor listen.
 */
export interface CommandSpec<O extends OptionSpecs, R> extends Usage<O> {
  /**
   * What only the main thread can do, such as making a folder or starting a program, before the
   * grants are worked out. Its result, plain data, is `prepared` of the request.
   */
  prepare?: (request: Request<O> & { env: Env }) => Promise<unknown>;
  grants?: (request: Request<O> & { env: Env }) => Grants | Promise<Grants>;
  run: (request: Request<O> & { env: Env }) => Promise<R> | R;
  /** What a person sees on stdout; without it only `--json` prints something. */
  text?: (result: R, request: Request<O> & { env: Env }) => string;
  /** The exit code of a run that did not throw; 0 without it. */
  exit?: (result: R) => number;
  /** `run` writes stdout itself, with `--json` too; nothing of its result is printed. */
  streams?: boolean;
  /**
   * How long a run in a thread may take to end after a signal, before the thread is ended. 1 s by
   * default: a coordinator that is up has answered by then.
   */
  graceMs?: number;
  entry?: never;
}

/**
 * A command that is a role: it serves until told to stop. The main thread starts the entry with
 * exactly the grants (roles/entry.ts is its inside) and drains it on the first signal; a drained role
 * exits 0.
 */
export interface RoleSpec<O extends OptionSpecs> extends Usage<O> {
  entry: RoleName;
  grants: (request: Request<O> & { env: Env }) => Grants | Promise<Grants>;
  /**
   * What the main thread does while the role runs, with a port to the role's thread: the worker's
   * runner. Its `env.signal` aborts when the role has ended for whatever reason; its failure ends the
   * role.
   */
  beside?: (port: MessagePort, request: Request<O> & { env: Env }) => Promise<void>;
}

/** What parsing, help and completion need of a command. */
export interface Usage<O extends OptionSpecs = OptionSpecs> {
  /** As typed: "tls mint". */
  path: string;
  /** One line, capital first, no full stop. */
  summary: string;
  /** Paragraphs below the usage line, where the summary does not say enough. */
  description?: string;
  /** Positional arguments, in order. */
  args?: ArgSpec[];
  /** Accepts `-- CMD ARGS…`. */
  rest?: { placeholder: string; help: string };
  options: O;
  /**
   * Sections of the configuration whose keys are accepted as flags. Without it the command gets only
   * defaults; with an empty list it reads the configuration, and takes no flags for it.
   */
  config?: readonly ConfigSection[];
  /** A configuration file that was named and does not exist is as if it were empty. */
  makesConfig?: boolean;
  /** The section whose short flags are accepted too, as `-H` of `node.host`. */
  shortFlags?: ConfigSection;
  /** The help of this command describes each setting; that of others, but roles, points to it. */
  describesSettings?: boolean;
  examples: Example[];
  /** Exit codes beyond 0, 1 and 2, for the help text. */
  exits?: Record<number, string>;
  /** Runs even where the configuration has problems, in order to report them. */
  lenient?: boolean;
  /** Not listed in help: only `agent` itself starts it. */
  hidden?: boolean;
}

export interface Request<O extends OptionSpecs = OptionSpecs> {
  options: OptionValues<O>;
  /** Positional arguments. */
  args: string[];
  /** What followed `--`. */
  rest: string[];
  /** Frozen; every key of the schema with its origin. */
  config: Config;
  /** Problems of the configuration; only for `lenient` commands. */
  findings?: Findings;
  json: boolean;
  /** What `prepare` returned. */
  prepared?: unknown;
}

export interface ArgSpec {
  /** Shown in capitals: "PEER". */
  name: string;
  help: string;
  required?: boolean;
  /** Only for the last one: takes all remaining words. */
  repeat?: boolean;
  completes?: LiveKind;
}

/** What a shell completes by asking the coordinators. */
export const liveKinds = ["task", "open_task", "finished_task", "worker", "state_key"] as const;
export type LiveKind = (typeof liveKinds)[number];

export interface Example {
  /** A full command line. Each one is parsed by a test. */
  line: string;
  does: string;
}

export type OptionSpecs = Record<string, OptionSpec>;

/** One option. Its key in camelCase is the flag in kebab-case: `addHostname` is `--add-hostname`. */
export type OptionSpec = ValueSpec & {
  help: string;
  /** One letter. */
  short?: string;
  /** What stands for the value in the usage: "DIR". Derived from the kind otherwise. */
  placeholder?: string;
  /** May be given more than once; the value is a list, of pairs a record; empty where absent. */
  repeat?: boolean;
  required?: boolean;
  default?: string | number | boolean;
  completes?: LiveKind;
};

export type OptionValues<O extends OptionSpecs> = {
  [K in keyof O]: O[K] extends { repeat: true } ? ValuesOf<O[K]>
    : O[K] extends { required: true } | { default: string | number | boolean } | { kind: "flag" }
      ? ValueOf<O[K]>
    : ValueOf<O[K]> | undefined;
};

// Only the command itself knows the types of its options.
// deno-lint-ignore no-explicit-any
export type AnyCommand = CommandSpec<any, any> | RoleSpec<any>;

/** Keeps the types of the options for `run` and `text`. */
export function command<const O extends OptionSpecs, R>(
  spec: CommandSpec<O, R>,
): CommandSpec<O, R> {
  return spec;
}

/** The same for a role. */
export function role<const O extends OptionSpecs>(spec: RoleSpec<O>): RoleSpec<O> {
  return spec;
}
