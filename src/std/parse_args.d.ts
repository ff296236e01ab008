/** What the command line needs of `@std/cli/parse-args`. */
export interface ParseOptions {
  /** Options that take no value. */
  boolean?: string[];
  /** Options whose value stays a string. */
  string?: string[];
  /** Options that may be given more than once; their value is always a list. */
  collect?: string[];
  /** Other names of an option. */
  alias?: Record<string, string | string[]>;
  /** Booleans that also take `--no-name`. */
  negatable?: string[];
  /** Stop at the first argument that is not an option. */
  stopEarly?: boolean;
  /** Put what follows `--` into the key "--". */
  "--"?: boolean;
  /** Called for each unknown argument; false leaves it out of the result. */
  unknown?: (arg: string, key?: string, value?: unknown) => unknown;
}

export function parseArgs(
  args: string[],
  options?: ParseOptions,
): Record<string, unknown> & { _: (string | number)[]; "--"?: string[] };
