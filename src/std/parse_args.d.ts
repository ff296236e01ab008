/** What is used of `@std/cli/parse-args`. */
export interface ParseOptions {
  /** Options that take no value. */
  boolean?: string[];
  /** Booleans that also take `--no-name`. */
  negatable?: string[];
  /** Put what follows `--` into the key "--". */
  "--"?: boolean;
}

export function parseArgs(
  args: string[],
  options?: ParseOptions,
): Record<string, unknown> & { _: (string | number)[]; "--"?: string[] };
