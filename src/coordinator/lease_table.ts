import { Histogram } from "../base/histogram.ts";
import type { Clock } from "../base/clock.ts";
import { baseId, elementOf } from "../tasks/ids.ts";
import { limits } from "../tasks/limits.ts";
import { specBytes } from "../tasks/spec_size.ts";
import { afterAttempt, type Seat } from "./policy.ts";
import type { GroupCommit } from "./group_commit.ts";
import { ResourceGrants } from "./resource_grants.ts";
import { type QueuedTask, TaskQueue } from "./task_queue.ts";
import type { LogOffsets } from "../tasks/service.ts";
import type { Recovered, StoredHolder, StoredLease, TaskStore } from "./store.ts";
import type { Assignment, AttemptRef, AttemptResult, TaskSpec } from "../tasks/task.ts";

/** A running attempt, in memory. */
export interface Lease extends Omit<StoredLease, "holder"> {
  holder: LeaseHolder;
  /** By the monotonic clock; absent: by an earlier start of the coordinator. */
  assignedAt?: number;
  /** What is stored of its logs, as far as this coordinator has seen it arrive. */
  logged: LogOffsets;
  /** False as soon as the attempt has ended, or was given away. */
  live: boolean;
}

/** What one worker process holds. A lease ends when the process has not been heard for too long. */
export interface LeaseHolder {
  stored: StoredHolder;
  /** By the task's id. */
  leases: Map<string, Lease>;
  /** When it was last heard; monotonic time. */
  heardAt: number;
}

/** A session that assignments can be sent to. */
export interface Assignee extends Seat {
  readonly holder: LeaseHolder;
  send(assignment: Assignment): void;
}

/**
 * Which task waits, and which attempt is whose: the queue, the leases and the fences. Every change is
 * made in memory and added to the next group commit in the same step.
 */
export class LeaseTable {
  readonly queue = new TaskQueue();
  readonly leases = new Map<string, Lease>();
  readonly stats = { superseded: 0, lost: 0, inlineBytes: 0 };
  /** In seconds: from when a task could be assigned, from there to its process, and its run. */
  readonly latencies = { wait: new Histogram(), start: new Histogram(), run: new Histogram() };
  readonly grants = new ResourceGrants();
  readonly #limited = new Map<string, number>();
  #nextSeq: number;
  #nextFence: number;

  constructor(
    readonly store: TaskStore,
    readonly commits: GroupCommit,
    readonly clock: Clock,
    recovered: Recovered,
  ) {
    this.#nextSeq = recovered.nextSeq;
    this.#nextFence = recovered.nextFence;
  }

  /** There may be something to assign: queued tasks, or a worker with credits. */
  assignSoon(isPatient = false): void {
    this.commits.poke(isPatient);
  }

  takeSeq(): number {
    return this.#nextSeq++;
  }

  /** The lease that this names, if it is the task's current one. */
  current(ref: AttemptRef): Lease | undefined {
    const lease = this.leases.get(ref.taskId);
    return lease?.ref.fence === ref.fence && lease.ref.attempt === ref.attempt ? lease : undefined;
  }

  /** The running attempt with the most output so far. */
  mostOutput(): Lease | undefined {
    let most: Lease | undefined;
    const bytes = (lease?: Lease) =>
      lease === undefined ? 0 : lease.logged.stdout + lease.logged.stderr;
    for (const lease of this.leases.values()) if (bytes(lease) > bytes(most)) most = lease;
    return most;
  }

  /** Elements of an array that have an attempt; counted for arrays with a limit. */
  runningOf(arrayId: string): number {
    return this.#limited.get(arrayId) ?? 0;
  }

  #count({ ref, atOnce, granted, holder }: Lease, change: 1 | -1): void {
    const { workerId } = holder.stored;
    if (granted !== undefined && change > 0) this.grants.take(workerId, granted);
    if (granted !== undefined && change < 0) this.grants.free(workerId, granted);
    if (atOnce === undefined) return;
    const arrayId = baseId(ref.taskId);
    const running = this.runningOf(arrayId) + change;
    if (running > 0) this.#limited.set(arrayId, running);
    else this.#limited.delete(arrayId);
  }

  hold(lease: Lease): void {
    this.#count(lease, 1);
    this.leases.set(lease.ref.taskId, lease);
    lease.holder.leases.set(lease.ref.taskId, lease);
  }

  /**
   * Assigns queued tasks to workers with credits, as part of the batch that is being made.
   *
   * @returns whether the batch is full and there may be more to assign.
   */
  assign(assignees: Iterable<Assignee>): boolean {
    const unread: { task: QueuedTask; error: unknown }[] = [];
    let [tasks, bytes] = [0, 0];
    const isFull = () => tasks >= maxAssigned.tasks || bytes >= maxAssigned.bytes;
    this.queue.assign(assignees, isFull, (task, assignee) => {
      let spec: TaskSpec;
      try {
        spec = task.spec ?? this.#spec(task.id);
      } catch (error) {
        unread.push({ task, error });
        return;
      }
      task.spec = undefined;
      const now = this.clock.monotonic();
      if (task.since !== undefined) this.latencies.wait.observe((now - task.since) / 1_000);
      tasks++;
      bytes += specBytes(spec);
      const { id: holder, workerId } = assignee.holder.stored;
      const granted = task.resources &&
        this.grants.find(workerId, assignee.resources ?? {}, task.resources);
      const ref = { taskId: task.id, attempt: task.attempts + 1, fence: this.#nextFence++ };
      const lease: Lease = {
        seq: task.seq,
        ref,
        holder: assignee.holder,
        selector: task.selector,
        retries: spec.retries,
        retryDelayMs: spec.retryDelayMs,
        failures: task.failures,
        losses: task.losses,
        maxLost: spec.noRequeue ? 0 : spec.maxLost,
        lostAfterMs: spec.lostAfterMs,
        atOnce: task.atOnce,
        resources: task.resources,
        granted,
        assignedAt: now,
        startedAt: undefined,
        cancelRequested: false,
        logged: { stdout: 0, stderr: 0 },
        live: true,
      };
      this.hold(lease);
      assignee.credits--;
      const at = this.clock.now();
      this.commits.add({
        change: { kind: "assign", seq: task.seq, ref, workerId, holder, granted, at },
        task: task.id,
        lock: task.id,
        done: () => assignee.send({ ref, spec, ...elementOf(task.id), granted }),
        refused: () => {
          this.#drop(lease);
          assignee.credits++;
          this.queue.add(task);
        },
      });
    }, {
      running: (arrayId) => this.runningOf(arrayId),
      isFree: ({ holder, resources = {} }, wanted) =>
        this.grants.find(holder.stored.workerId, resources, wanted) !== undefined,
    });
    // A disk that cannot be read now may be later: the tasks wait on, and the others are assigned.
    for (const { task } of unread) this.queue.add(task);
    if (unread.length > 0) throw unread[0]!.error;
    return isFull();
  }

  started(ref: AttemptRef, holder: LeaseHolder, at: number): void {
    const lease = this.current(ref);
    if (lease === undefined || lease.holder !== holder || lease.startedAt !== undefined) return;
    lease.startedAt = at;
    if (lease.assignedAt !== undefined) {
      this.latencies.start.observe((this.clock.monotonic() - lease.assignedAt) / 1_000);
    }
    const change = { kind: "start", seq: lease.seq, ref, at } as const;
    this.commits.add({ change, task: ref.taskId, lazy: true });
  }

  /** @param ack called when the result is on disk. */
  finished(result: AttemptResult, holder: LeaseHolder, ack: (superseded: boolean) => void): void {
    const lease = this.current(result.ref);
    if (lease !== undefined && lease.holder === holder) {
      this.#end(lease, result, () => ack(false));
      return;
    }
    // It was reported before, and only the acknowledgement was lost, or its lease was given away.
    this.commits.add({
      change: { kind: "late", result },
      task: result.ref.taskId,
      done: (outcome) => {
        const superseded = outcome === undefined || !("lost" in outcome) || outcome.lost;
        if (superseded) this.stats.superseded++;
        ack(superseded);
      },
    });
  }

  /** The attempt no longer runs, and how it ended is unknown. */
  lose(lease: Lease, reason: string): void {
    this.#end(lease, {
      ref: lease.ref,
      state: "lost",
      exitCode: undefined,
      signal: undefined,
      stdoutBytes: lease.logged.stdout,
      stderrBytes: lease.logged.stderr,
      reason,
      startedAt: lease.startedAt,
      finishedAt: this.clock.now(),
    });
  }

  /**
   * No process of the attempt ran: its task is as if it had not been assigned.
   *
   * @param reason why its worker could not start it; other workers are then preferred.
   */
  release(lease: Lease, reason?: string): void {
    // The next attempt would take the same number, and its output would join this one's.
    if (lease.logged.stdout + lease.logged.stderr > 0) {
      return this.lose(lease, reason ?? "Its worker gave it back");
    }
    this.#drop(lease);
    const { seq, ref } = lease;
    const lock = ref.taskId;
    if (!lease.cancelRequested) {
      this.commits.add({ change: { kind: "release", seq, ref }, task: lock, lock });
      const task = this.#queued(lease, ref.attempt - 1);
      this.queue.add(reason === undefined ? task : this.#avoiding(task, lease));
      return;
    }
    this.commits.add({ change: { kind: "release", seq, ref }, lock });
    const at = this.clock.now();
    const cancelled = { kind: "cancel", seq, reason: "Cancelled before it started", at } as const;
    this.commits.add({ change: cancelled, task: lock, lock });
  }

  #end(lease: Lease, result: AttemptResult, done?: () => void): void {
    this.#drop(lease);
    const { seq, failures, losses, maxLost, retries, retryDelayMs, cancelRequested } = lease;
    const at = this.clock.now();
    if (result.startedAt !== undefined) {
      this.latencies.run.observe(Math.max(0, result.finishedAt - result.startedAt) / 1_000);
    }
    const reason = result.reason?.slice(0, limits.maxReasonLength);
    const { state } = result;
    if (state === "lost") this.stats.lost++;
    if (result.output !== undefined) {
      this.stats.inlineBytes += result.stdoutBytes + result.stderrBytes;
    }
    const after = afterAttempt(
      { state, reason, failures, losses, maxLost, retries, retryDelayMs, cancelRequested },
      at,
    );
    this.commits.add({
      change: { kind: "end", seq, result: { ...result, reason }, after, at },
      task: result.ref.taskId,
      lock: result.ref.taskId,
      patient: true,
      ...(done === undefined ? {} : { done }),
    });
    if (after.state !== "queued") return;
    const notBefore = monotonicOf(after.notBefore, this.clock);
    const counts = { failures: after.failures, losses: after.losses };
    const since = notBefore ?? this.clock.monotonic();
    const task = { ...this.#queued(lease, lease.ref.attempt), ...counts, notBefore, since };
    this.queue.add(this.#avoiding(task, lease));
  }

  /** The task prefers other workers than the lease's: what failed there may work elsewhere. */
  #avoiding(task: QueuedTask, lease: Lease): QueuedTask {
    const { workerId } = lease.holder.stored;
    const from = task.notBefore ?? this.clock.monotonic();
    return { ...task, avoid: { workerId, until: from + avoidMs } };
  }

  #queued(lease: Lease, attempts: number): QueuedTask {
    const { seq, ref, selector, atOnce, resources, failures, losses } = lease;
    const notBefore = undefined;
    const spec = undefined;
    const needs = { selector, atOnce, resources };
    return { seq, id: ref.taskId, ...needs, notBefore, failures, losses, attempts, spec };
  }

  #drop(lease: Lease): void {
    lease.live = false;
    lease.holder.leases.delete(lease.ref.taskId);
    if (this.leases.get(lease.ref.taskId) !== lease) return;
    this.leases.delete(lease.ref.taskId);
    this.#count(lease, -1);
  }

  #spec(id: string): TaskSpec {
    const spec = this.store.spec(id);
    if (spec === undefined) throw new Error(`The store has no spec for task ${id}`);
    return spec;
  }
}

/** In one batch: with their specs they are read, encoded and sent within some 20 ms. */
const maxAssigned = { tasks: 250, bytes: 2 * 1024 * 1024 };

/**
 * How long a retry waits for another worker that fits. Longer than short tasks keep a slot, short
 * beside what a retry costs; where all others are busy for hours, the same worker is better than none.
 */
const avoidMs = 30_000;

/** A time of day by the monotonic clock, as both stand now. */
export function monotonicOf(time: number | undefined, clock: Clock): number | undefined {
  return time === undefined ? undefined : clock.monotonic() + time - clock.now();
}
