import type { Clock } from "../base/clock.ts";
import { UserError } from "../base/errors.ts";
import { Histogram } from "../base/histogram.ts";
import type { Log } from "../base/log.ts";
import { TaskError } from "../tasks/service.ts";
import type { Change, ChangeResult, TaskStore } from "./store.ts";

export interface CommitEntry {
  change: Change;
  /** The task whose record changes. */
  task?: string | undefined;
  /** While the entry is not committed, `locked` returns true for this text. */
  lock?: string | undefined;
  /** No caller waits for it: it may wait for the next batch. */
  lazy?: boolean;
  /** Under load it may wait for twice as many changes; see `patientFactor`. */
  patient?: boolean;
  /** Takes so long that other work gets its turn first, and that a commit has only one of them. */
  large?: boolean;
  /** Called when the change is on disk. */
  done?: (outcome: ChangeResult) => void;
  /**
   * Called if it could not be written, in reverse order, to undo the change in memory. An entry without
   * it cannot be undone, and is written as soon as possible.
   */
  refused?: (error: TaskError) => void;
}

export interface GroupCommitOptions {
  store: TaskStore;
  clock: Clock;
  log: Log;
  /** Shortest time between two commits; see `commitEveryMs`. */
  everyMs?: number;
  /** Called before each batch to add entries. @returns whether the next batch will get more. */
  prepare: () => boolean;
  /** Called if the disk is full. @returns whether space was freed. */
  makeRoom: () => boolean;
  /** Called after a batch is on disk and all its entries were notified. */
  committed: (tasks: string[]) => void;
}

/**
 * A commit costs about as much as 20 changes. Waiting this long collects 40 or more changes per
 * commit at 8,000 changes a second. A single change on an idle system does not wait at all.
 */
const commitEveryMs = 5;

/** In units of `commitEveryMs`: changes that no caller waits for are on disk within 50 ms. */
const lazyFactor = 10;

/**
 * In units of `commitEveryMs`: what keeps nothing waiting while workers have work ahead, as ends of
 * tasks and credits of busy workers. Each commit also costs a message in each direction and what
 * follows from it on the worker.
 */
const patientFactor = 2;

/**
 * Maximum number of changes in one commit. With all notifications they take about 15 ms of the event
 * loop; a separate commit for the rest, in the next turn, costs only 4 % more.
 */
const maxBatch = 500;

/** How often to try again while the store cannot be written. */
const probeEveryMs = 1_000;

/**
 * Collects changes and commits them in batches: at once if the last commit was at least `everyMs` ago,
 * else when that time has passed. Nothing is acknowledged before it is on disk.
 */
export class GroupCommit {
  readonly #options: GroupCommitOptions;
  readonly #everyMs: number;
  #entries: CommitEntry[] = [];
  readonly #locks = new Map<string, number>();
  #waiting: (() => void)[] = [];
  #timer: ReturnType<typeof setTimeout> | undefined;
  #immediate: ReturnType<typeof setImmediate> | undefined;
  #due = Infinity;
  #lastEnd = -Infinity;
  #closed = false;
  #failing: UserError | undefined;
  readonly durations = new Histogram();
  readonly stats = { commits: 0, failures: 0, changes: 0, seconds: 0, slowestSeconds: 0 };

  constructor(options: GroupCommitOptions) {
    this.#options = options;
    this.#everyMs = options.everyMs ?? commitEveryMs;
  }

  /** Why the store cannot be written now; undefined if it can. */
  get failing(): UserError | undefined {
    return this.#failing;
  }

  add(entry: CommitEntry): void {
    if (this.#closed) {
      entry.refused?.(new TaskError("unavailable", "The coordinator is stopping"));
      return;
    }
    if (this.#failing !== undefined && entry.refused !== undefined) {
      entry.refused(refusal(this.#failing));
      return;
    }
    this.#entries.push(entry);
    if (entry.lock !== undefined) {
      this.#locks.set(entry.lock, (this.#locks.get(entry.lock) ?? 0) + 1);
    }
    if (entry.lazy && this.#failing === undefined) this.#schedule(this.#everyMs * lazyFactor);
    else if (entry.large && this.#failing === undefined) this.#schedule(1);
    else this.poke(entry.patient);
  }

  /** Resolves when the change is on disk; rejects, after `undo`, if it could not be written. */
  write(
    change: Change,
    more: { task?: string; lock?: string; large?: boolean; undo?: () => void } = {},
  ): Promise<ChangeResult> {
    return new Promise((done, reject) => {
      const refused = (error: TaskError) => {
        more.undo?.();
        reject(error);
      };
      const { undo: _, ...kept } = more;
      this.add({ change, ...kept, done, refused });
    });
  }

  /** Whether an entry with this lock waits to be written. If so, await `settled` and call this again. */
  locked(lock: string): boolean {
    return this.#locks.has(lock);
  }

  /** Resolves after the next batch, whether it succeeded or not. */
  settled(): Promise<void> {
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  /** Schedules a batch, even without entries: `prepare` may add some. */
  poke(isPatient = false): void {
    const waitMs = this.#everyMs * (isPatient ? patientFactor : 1);
    if (this.#failing !== undefined) this.#schedule(probeEveryMs);
    else this.#schedule(this.#lastEnd + waitMs - performance.now());
  }

  /** Schedules the next batch; the earliest request wins. */
  #schedule(waitMs: number): void {
    const due = performance.now() + Math.max(0, waitMs);
    if (this.#due <= due) return;
    this.#unschedule();
    this.#due = due;
    // Not a microtask: other changes of this turn of the event loop join the batch.
    if (waitMs <= 0) this.#immediate = setImmediate(() => this.#flushSome());
    else this.#timer = setTimeout(() => this.#flushSome(), waitMs);
  }

  #unschedule(): void {
    clearTimeout(this.#timer);
    clearImmediate(this.#immediate);
    this.#due = Infinity;
  }

  /** Commits all entries now. */
  flush(): void {
    do this.#flushSome(); while (this.#entries.length > 0 && this.#failing === undefined);
  }

  /** Commits one batch. */
  #flushSome(): void {
    this.#unschedule();
    if (this.#failing !== undefined) this.#entries.unshift({ change: { kind: "probe" } });
    const isFull = this.#entries.length >= maxBatch;
    const isMore = this.#failing === undefined && !isFull && this.#prepare();
    if (this.#entries.length === 0) return;
    const large = this.#entries.findIndex(({ large }) => large);
    const entries = this.#entries.splice(0, large < 0 ? maxBatch : Math.min(maxBatch, large + 1));
    // A full batch has left no room for what `prepare` adds, and this may have been its only call.
    const isRest = isFull || this.#entries.length > 0;
    const result = this.#commit(entries);
    if (Array.isArray(result)) this.#committed(entries, result);
    else if (result instanceof UserError) this.#failed(entries, result);
    else this.#oneByOne(entries);
    if (this.#failing !== undefined) return;
    if (isRest) this.#schedule(0);
    else if (isMore) this.poke();
  }

  #prepare(): boolean {
    let failure: unknown;
    let isMore = false;
    try {
      isMore = this.#options.prepare();
    } catch (error) {
      failure = error;
    }
    // Entries that it added have scheduled a batch.
    this.#unschedule();
    if (failure === undefined) return isMore;
    this.#options.log.error("tasks cannot be assigned", { reason: String(failure) });
    this.#schedule(probeEveryMs);
    return false;
  }

  /** The results; or why nothing was written: a `UserError` if the store cannot be written at all. */
  #commit(entries: CommitEntry[]): ChangeResult[] | Error {
    const start = performance.now();
    const changes = entries.map((entry) => entry.change);
    const { store, makeRoom } = this.#options;
    try {
      try {
        return store.commit(changes);
      } catch (error) {
        if (!(error instanceof UserError) || error.code !== "disk_full" || !makeRoom()) throw error;
        return store.commit(changes);
      }
    } catch (error) {
      this.stats.failures++;
      return error instanceof Error ? error : new Error(String(error));
    } finally {
      this.#lastEnd = performance.now();
      this.#measure((this.#lastEnd - start) / 1_000, entries.length);
    }
  }

  #committed(entries: CommitEntry[], outcomes: ChangeResult[]): void {
    this.#release(entries);
    if (this.#failing !== undefined) {
      this.#failing = undefined;
      this.#options.log.info("store can be written again");
      this.poke();
    }
    const tasks = new Set<string>();
    entries.forEach((entry, index) => {
      if (entry.task !== undefined) tasks.add(entry.task);
      entry.done?.(outcomes[index]);
    });
    this.#options.committed([...tasks]);
  }

  /**
   * The store works, but one change of the batch is invalid. That is a bug of the engine, and must not
   * block the other changes.
   */
  #oneByOne(entries: CommitEntry[]): void {
    for (const entry of entries) {
      const result = this.#commit([entry]);
      if (Array.isArray(result)) this.#committed([entry], result);
      else if (result instanceof UserError) this.#failed([entry], result);
      else {
        const change = entry.change.kind;
        this.#options.log.error("change cannot be stored", {
          change,
          task: entry.task,
          reason: result.message,
        });
        this.#release([entry]);
        entry.refused?.(new TaskError("internal", `Storing a change failed: ${change}`));
      }
    }
  }

  #failed(entries: CommitEntry[], error: UserError): void {
    this.#failing = error;
    this.#options.log.error("store cannot be written", { reason: error.message });
    const dropped = entries.filter((entry) => entry.refused !== undefined);
    const kept = entries.filter((entry) =>
      entry.refused === undefined && entry.change.kind !== "probe"
    );
    this.#entries = [...kept, ...this.#entries];
    this.#release(dropped);
    const reason = refusal(error);
    for (const entry of dropped.reverse()) entry.refused!(reason);
    this.poke();
  }

  #release(entries: CommitEntry[]): void {
    for (const { lock } of entries) {
      if (lock === undefined) continue;
      const left = this.#locks.get(lock)! - 1;
      if (left > 0) this.#locks.set(lock, left);
      else this.#locks.delete(lock);
    }
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const resolve of waiting) resolve();
  }

  #measure(seconds: number, changes: number): void {
    this.stats.commits++;
    this.stats.changes += changes;
    this.durations.observe(seconds);
    this.stats.seconds += seconds;
    this.stats.slowestSeconds = Math.max(this.stats.slowestSeconds, seconds);
  }

  /** Commits the remaining entries and stops. Entries that cannot be written were never acknowledged. */
  close(): void {
    this.flush();
    this.#closed = true;
    this.#unschedule();
    const left = this.#entries;
    this.#entries = [];
    this.#release(left);
    for (const entry of left) {
      entry.refused?.(new TaskError("unavailable", "The coordinator is stopping"));
    }
  }
}

function refusal(error: UserError): TaskError {
  const code = error.code === "disk_full" ? "exhausted" : "unavailable";
  return new TaskError(code, error.message, undefined, { cause: error });
}
