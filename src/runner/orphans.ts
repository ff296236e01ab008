import { type ChildProcess, childProcesses } from "../base/child_processes.ts";
import { adoptOrphans, reap } from "../base/libc.ts";
import { signal } from "./leftover_processes.ts";

/** A start as the kernel counts it may be this much before the one that was noted here. */
const slackMs = 100;

/** Times at which tasks ran are remembered for this many runs of tasks without a pause. */
const mostPeriods = 1_000;

export interface OrphansOptions {
  /** Children that are none of a task's, or that are waited for by others. */
  isKnown: (pid: number) => boolean;
  /** When each attempt that still runs was started, in milliseconds since boot. */
  running: () => Iterable<number>;
  /** The guardian ends these process groups, too, when the worker is gone. */
  watch: (group: number) => void;
  unwatch: (group: number) => void;
  killed: (pid: number) => void;
}

/**
 * Processes of tasks that lost their parent, where there are no cgroups. The kernel makes them
 * children of this process (PR_SET_CHILD_SUBREAPER, or PID 1), so they are found whatever they did
 * to their group, session, environment and name. They do not tell which task they are of: each is
 * ended once no attempt runs that was there when it was started. One that was started while no
 * attempt ran is none of a task's.
 */
export class Orphans {
  readonly #adopts: boolean;
  readonly #watched = new Map<number, number>();
  /** When attempts ran. */
  readonly #periods: { from: number; to: number }[] = [];
  #since: number | undefined;

  /** @param ends whether orphans are to be ended; if not, only their exit statuses are taken. */
  constructor(private readonly options: OrphansOptions, private readonly ends: boolean) {
    this.#adopts = (ends && adoptOrphans()) || Deno.pid === 1;
  }

  /** Called when the number of attempts has changed. */
  changed(count: number, bootMs: number): void {
    if (count > 0) this.#since ??= bootMs;
    else if (this.#since !== undefined) {
      this.#periods.push({ from: this.#since, to: bootMs });
      if (this.#periods.length > mostPeriods) this.#periods.shift();
      this.#since = undefined;
    }
  }

  /** Once a second. */
  look(): void {
    if (!this.#adopts) return;
    const { isKnown, unwatch } = this.options;
    const alive = new Set<number>();
    for (const child of childProcesses()) {
      const { pid } = child;
      if (isKnown(pid)) continue;
      if (child.state === "Z") reap(pid);
      else if (this.ends && this.#isOfTask(child)) {
        alive.add(pid);
        this.#endOrWatch(child);
      }
    }
    for (const [pid, group] of this.#watched) {
      if (alive.has(pid)) continue;
      this.#watched.delete(pid);
      if (![...this.#watched.values()].includes(group)) unwatch(group);
    }
  }

  #isOfTask({ startedAt }: ChildProcess): boolean {
    const isIn = (from: number, to: number) =>
      startedAt >= from - slackMs && startedAt <= to + slackMs;
    if (this.#since !== undefined && isIn(this.#since, Infinity)) return true;
    return this.#periods.some(({ from, to }) => isIn(from, to));
  }

  #endOrWatch({ pid, group, startedAt }: ChildProcess): void {
    const { running, watch, killed, isKnown } = this.options;
    for (const start of running()) {
      if (start - slackMs > startedAt) continue;
      if (!this.#watched.has(pid) && !isKnown(group)) {
        this.#watched.set(pid, group);
        watch(group);
      }
      return;
    }
    if (signal(pid, "SIGKILL")) killed(pid);
  }
}
