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

/** A heap needs this time to grow to its working size; a slope needs as much after it. */
const warmUpMs = 600_000;

/** With less, a process grows by 50 MiB in two days; more is not told from noise within an hour. */
const mostGrowthMibPerHour = 24;

/** Growth after the warm-up, by least squares; undefined if the series is too short. */
export function growthMibPerHour({ mib }: MemorySample, everyMs = lookEveryMs): number | undefined {
  const values = mib.slice(warmUpMs / everyMs);
  if (values.length < warmUpMs / everyMs) return undefined;
  const middle = (values.length - 1) / 2;
  const level = mean(values);
  const [above, below] = [
    values.reduce((sum, value, at) => sum + (at - middle) * (value - level), 0),
    values.reduce((sum, _, at) => sum + (at - middle) ** 2, 0),
  ];
  return above / below * (3_600_000 / everyMs);
}

/** The series that keep growing. */
export function growing(samples: MemorySample[]): string[] {
  return samples.flatMap((sample) => {
    const growth = growthMibPerHour(sample) ?? 0;
    return growth > mostGrowthMibPerHour
      ? [`${sample.name}: ${growth.toFixed()} MiB in an hour`]
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
