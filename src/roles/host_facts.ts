/** What a node shows of its host's load, coarse enough that an idle host looks the same each time. */

export interface HostLoad {
  cpu_count: number;
  load: number | null;
  memory_total: number | null;
  memory_available: number | null;
}

/** Steps of the memory that is shown; each change is sent to every other node. */
const memorySteps = 50;

export function hostLoad(): HostLoad {
  const memory = Deno.systemMemoryInfo();
  const cpus = navigator.hardwareConcurrency;
  const step = memory.total / memorySteps;
  return {
    cpu_count: cpus,
    // In tenths of a processor, and fractions of what many processors do.
    load: rounded(Deno.loadavg()[0] ?? 0, Math.max(0.1, cpus / 40)),
    memory_total: memory.total,
    memory_available: Math.round(Math.round(memory.available / step) * step),
  };
}

function rounded(value: number, step: number): number {
  return Math.round(Math.round(value / step) * step * 100) / 100;
}
