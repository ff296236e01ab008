/** Reads what `deno test` prints. */

export interface Counts {
  passed: number;
  failed: number;
  skipped: number;
}

/**
 * The counts of Deno's own summary line.
 *
 * @param success whether the run exited with 0.
 * @returns also `brokeOff`: the run failed without a failed test, and counts as one failure.
 */
export function countsOf(output: string, success: boolean): Counts & { brokeOff: boolean } {
  const line = output.split("\n").findLast((line) => /\| \d+ passed .*\| \d+ failed/.test(line));
  const count = (word: string) => Number(new RegExp(`(\\d+) ${word}`).exec(line ?? "")?.[1] ?? 0);
  const failed = count("failed");
  const brokeOff = !success && failed === 0;
  return {
    passed: count("passed"),
    failed: brokeOff ? 1 : failed,
    skipped: count("ignored"),
    brokeOff,
  };
}

/** The failed tests, each with its file and line, from the list that ends a failed run. */
export function failuresIn(output: string): string[] {
  const lines = output.split("\n");
  const title = lines.lastIndexOf(" FAILURES ");
  if (title < 0) return [];
  const rest = lines.slice(title + 1);
  const end = rest.findIndex((line) => line.startsWith("FAILED | "));
  return rest.slice(0, end < 0 ? undefined : end).filter((line) => line !== "");
}
