/** Resident memory of processes over time. Linux only. */

export interface MemorySample {
  name: string;
  pid: number;
  /** In MiB, one value for each sample. */
  mib: number[];
}

const lookEveryMs = 5_000;

/** Samples until the signal aborts; a restarted process is a new series. */
export async function sampleMemory(
  processes: () => [name: string, pid: number][],
  over: AbortSignal,
): Promise<MemorySample[]> {
  const samples = new Map<number, MemorySample>();
  while (!over.aborted) {
    for (const [name, pid] of processes()) {
      const mib = await residentMib(pid);
      if (mib === undefined) continue;
      const sample = samples.get(pid) ?? { name, pid, mib: [] };
      samples.set(pid, sample);
      sample.mib.push(mib);
    }
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, lookEveryMs);
      over.addEventListener("abort", () => (clearTimeout(timer), resolve()), { once: true });
    });
  }
  return [...samples.values()];
}

/**
 * The series that keep growing: the last quarter is more than a fifth above the one before it.
 * Series under ten minutes are ignored, because a heap first grows to its working size.
 */
export function growing(samples: MemorySample[]): string[] {
  const fewest = 600_000 / lookEveryMs;
  return samples.filter(({ mib }) => mib.length >= fewest).flatMap(({ name, mib }) => {
    const quarter = Math.floor(mib.length / 4);
    const [before, last] = [mib.slice(-2 * quarter, -quarter), mib.slice(-quarter)].map(mean);
    return last! > before! * 1.2
      ? [`${name}: from ${before!.toFixed()} to ${last!.toFixed()} MiB`]
      : [];
  });
}

function mean(values: number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

/** Undefined if the process has ended. */
async function residentMib(pid: number): Promise<number | undefined> {
  try {
    const kib = /^VmRSS:\s+(\d+) kB$/m.exec(await Deno.readTextFile(`/proc/${pid}/status`))?.[1];
    return kib === undefined ? undefined : Number(kib) / 1024;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
}
