import type { GrantedResources, Resources } from "../tasks/resources.ts";

/**
 * Which resources of which worker are in use, by the leases of all its processes: a former one may
 * still run its tasks.
 */
export class ResourceGrants {
  readonly #used = new Map<string, Map<string, Set<number>>>();

  /** The lowest free numbers of what is wanted; undefined where there are too few. */
  find(workerId: string, total: Resources, wanted: Resources): GrantedResources | undefined {
    const used = this.#used.get(workerId);
    const granted: Record<string, number[]> = {};
    for (const [name, count] of Object.entries(wanted)) {
      const taken = used?.get(name);
      const free: number[] = [];
      for (let number = 0; number < (total[name] ?? 0) && free.length < count; number++) {
        if (!taken?.has(number)) free.push(number);
      }
      if (free.length < count) return undefined;
      granted[name] = free;
    }
    return granted;
  }

  take(workerId: string, granted: GrantedResources): void {
    let used = this.#used.get(workerId);
    if (used === undefined) this.#used.set(workerId, used = new Map());
    for (const [name, numbers] of Object.entries(granted)) {
      let taken = used.get(name);
      if (taken === undefined) used.set(name, taken = new Set());
      for (const number of numbers) taken.add(number);
    }
  }

  free(workerId: string, granted: GrantedResources): void {
    const used = this.#used.get(workerId);
    for (const [name, numbers] of Object.entries(granted)) {
      for (const number of numbers) used?.get(name)?.delete(number);
    }
  }

  /** How many of each are in use. */
  used(workerId: string): Resources {
    const counts: Record<string, number> = {};
    for (const [name, numbers] of this.#used.get(workerId) ?? []) {
      if (numbers.size > 0) counts[name] = numbers.size;
    }
    return counts;
  }
}
