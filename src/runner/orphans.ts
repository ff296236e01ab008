import { type ChildProcess, childProcesses, processGroup } from "../base/child_processes.ts";
import { adoptOrphans, reap } from "../base/libc.ts";
import { signal } from "./leftover_processes.ts";

/** A start as the kernel counts it may be this much before the one that was noted here. */
const slackMs = 100;

/** Processes read before other work gets its turn. */
const batchSize = 32;

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
 * to their group, session, environment and name. Nothing tells which task they belong to: each is
 * ended once no attempt runs that was there when it was started. One that was started while no
 * attempt ran belongs to no task.
 */
export class Orphans {
  readonly #adopts: boolean;
  readonly #ownGroup = processGroup(Deno.pid);
  #watched = new Set<number>();
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

  /** Called once a second, and not again before it has settled. */
  async look(): Promise<void> {
    if (!this.#adopts) return;
    const { isKnown } = this.options;
    const children = childProcesses();
    for (const child of children) {
      if (isKnown(child.pid)) continue;
      if (child.state === "Z") reap(child.pid);
      else if (this.ends && this.#isOver(child)) {
        if (signal(child.pid, "SIGKILL")) this.options.killed(child.pid);
      }
    }
    if (this.ends) await this.#watchGroups(children);
  }

  /** Whether it belongs to a task, and no attempt is left that it could belong to. */
  #isOver({ startedAt }: ChildProcess): boolean {
    const isIn = (from: number, to: number) =>
      startedAt >= from - slackMs && startedAt <= to + slackMs;
    const isOfTask = this.#since !== undefined && isIn(this.#since, Infinity) ||
      this.#periods.some(({ from, to }) => isIn(from, to));
    return isOfTask &&
      [...this.options.running()].every((start) => startedAt < start - slackMs);
  }

  /** The guardian cannot find what left its group when the worker is gone, so it has to know before. */
  async #watchGroups(children: ChildProcess[]): Promise<void> {
    const { isKnown, watch, unwatch } = this.options;
    const groups = new Set<number>();
    const pending = [...children];
    let read = 0;
    for (let next; (next = pending.pop()) !== undefined;) {
      if (!isKnown(next.group)) groups.add(next.group);
      pending.push(...childProcesses(next.pid));
      // Beats must not wait for a task of thousands of processes.
      if (++read % batchSize === 0) await new Promise((resolve) => setTimeout(resolve, 0));
    }
    groups.delete(this.#ownGroup);
    for (const group of groups) if (!this.#watched.has(group)) watch(group);
    for (const group of this.#watched) if (!groups.has(group)) unwatch(group);
    this.#watched = groups;
  }
}
