/** Two clocks, in milliseconds from arbitrary starts; a lease has to be valid by both. */
export interface Instants {
  /** Continues while the process is stopped, not while the host sleeps. */
  monotonic: number;
  /** Continues while the host sleeps. */
  boot: number;
}

/**
 * Until when each coordinator's leases are valid. A lease is over when it is over by either clock: no
 * process of a task may outlive it because the host slept.
 */
export class Leases {
  readonly #until = new Map<string, Instants>();

  /** @param forMs from now. */
  renew(lease: string, forMs: number, now: Instants): void {
    this.#until.set(lease, { monotonic: now.monotonic + forMs, boot: now.boot + forMs });
  }

  holds(lease: string, now: Instants): boolean {
    const until = this.#until.get(lease);
    return until !== undefined && now.monotonic < until.monotonic && now.boot < until.boot;
  }

  /** Leases that have passed; each is named once. */
  takePassed(now: Instants): string[] {
    const passed = [...this.#until.keys()].filter((lease) => !this.holds(lease, now));
    for (const lease of passed) this.#until.delete(lease);
    return passed;
  }
}

/**
 * The time since the host started, which includes its sleep and does not jump when the clock is set.
 * Without /proc the time of day, which may end leases too early.
 */
export function bootMs(): number {
  try {
    return Number.parseFloat(Deno.readTextFileSync("/proc/uptime")) * 1000;
  } catch {
    return Date.now();
  }
}
