/**
 * The result of a benchmark: a figure, a reference measured in the same run, and their ratio.
 * Machines are shared and noisy, so only the ratio is compared with a target.
 */
export interface Figure {
  /** "dispatch". */
  name: string;
  /** "1,020 no-op tasks/s". */
  measured: string;
  /** "1,310 bare starts/s". */
  reference: string;
  ratio: number;
  /** Limit of the ratio. */
  target: { atLeast: number } | { atMost: number };
  /** Further facts: memory, spread, number of runs. */
  notes?: string[];
}

/** A figure that cannot be measured here; the message says why. */
export class Unavailable extends Error {
  override name = "Unavailable";
}

export interface Bench {
  name: string;
  /** One line for the list. */
  what: string;
  /** Yields its figures as it goes; owns its processes and folders. */
  run(options: BenchOptions): AsyncIterable<Figure>;
}

export interface BenchOptions {
  /** Fewer rounds, to check that the benchmark itself works. */
  quick: boolean;
}

export function reached(figure: Figure): boolean {
  const { target, ratio } = figure;
  return "atLeast" in target ? ratio >= target.atLeast : ratio <= target.atMost;
}

export function describe(figure: Figure): string {
  const { target } = figure;
  const wanted = "atLeast" in target ? `at least ${target.atLeast}` : `at most ${target.atMost}`;
  const lines = [
    `${reached(figure) ? "ok  " : "MISS"} ${figure.name}: ${figure.ratio.toFixed(2)} (${wanted})`,
    `       measured   ${figure.measured}`,
    `       reference  ${figure.reference}`,
    ...(figure.notes ?? []).map((note) => `       note       ${note}`),
  ];
  return lines.join("\n");
}

/** The middle value; for an even count the mean of the two middle values. */
export function median(values: number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const half = Math.floor(sorted.length / 2);
  if (sorted.length === 0) throw new RangeError("No values to take the median of");
  return sorted.length % 2 === 1 ? sorted[half]! : (sorted[half - 1]! + sorted[half]!) / 2;
}

/** Peak resident memory of a process so far, in bytes. Linux only. */
export async function peakMemoryBytes(pid: number): Promise<number> {
  const status = await Deno.readTextFile(`/proc/${pid}/status`);
  const kib = /^VmHWM:\s+(\d+) kB$/m.exec(status)?.[1];
  if (kib === undefined) throw new Error(`No VmHWM in /proc/${pid}/status`);
  return Number(kib) * 1024;
}

/** User and system time of a process so far, in seconds. Linux only. */
export async function cpuSeconds(pid: number): Promise<number> {
  const stat = await Deno.readTextFile(`/proc/${pid}/stat`);
  // The name in parentheses may contain spaces; utime and stime are fields 14 and 15 (proc(5)).
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  const ticksPerSecond = 100;
  return (Number(fields[11]) + Number(fields[12])) / ticksPerSecond;
}

/** Current resident memory of a process, in bytes. Linux only. */
export async function memoryBytes(pid: number): Promise<number> {
  const status = await Deno.readTextFile(`/proc/${pid}/status`);
  return Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1]) * 1024;
}

export const mib = (bytes: number) => `${(bytes / 1024 / 1024).toFixed(0)} MiB`;
export const perSecond = (count: number) => Math.round(count).toLocaleString("en");
