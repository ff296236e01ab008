/** The load of the host, as a node shows it. Each change is sent to all nodes, so small ones are left out. */

export interface HostLoad {
  cpu_count: number;
  load: number | null;
  memory_total: number | null;
  memory_available: number | null;
}

/** Changes of the load below both are not shown: a share of it, and of one processor. */
const loadShare = 0.25;
const leastLoad = 0.2;
/** Changes of the free memory below this share of all memory are not shown. */
const memoryShare = 0.03;

/** Reads the load; the returned function keeps the values that it has shown. */
export function hostLoads(): () => HostLoad {
  let load = 0;
  let available = 0;
  return () => {
    const memory = Deno.systemMemoryInfo();
    const current = Deno.loadavg()[0] ?? 0;
    if (Math.abs(current - load) > Math.max(leastLoad, loadShare * load)) {
      load = Math.round(current * 100) / 100;
    }
    if (Math.abs(memory.available - available) > memoryShare * memory.total) {
      available = memory.available;
    }
    return {
      cpu_count: navigator.hardwareConcurrency,
      load,
      memory_total: memory.total,
      memory_available: available,
    };
  };
}
