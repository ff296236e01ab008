import { baseId } from "../tasks/ids.ts";
import { hasResources, type Resources } from "../tasks/resources.ts";
import { matches } from "../tasks/selectors.ts";
import { pickSeat, type Seat } from "./policy.ts";
import type { Labels, TaskSpec } from "../tasks/task.ts";

/** A waiting task in memory: small, because there may be a million. */
export interface QueuedTask {
  /** Order of submission. */
  seq: number;
  id: string;
  selector: Labels;
  /** Of its array: how many elements have an attempt at once, at most. */
  atOnce: number | undefined;
  /** What it has for itself while it runs. */
  resources: Resources | undefined;
  /** By the monotonic clock, for the time of day may be set meanwhile. */
  notBefore: number | undefined;
  failures: number;
  losses: number;
  /** Number of its last attempt. */
  attempts: number;
  /** Only until it is in the store. */
  spec: TaskSpec | undefined;
  /** Since when it could have been assigned, by the monotonic clock; absent: not known. */
  since?: number | undefined;
  /** The worker of its failed attempt: others are preferred, until then by the monotonic clock. */
  avoid?: { workerId: string; until: number };
}

/**
 * Waiting tasks in groups that the same workers fit, first submitted first served. A group that no
 * worker fits does not hold up the others.
 */
export class TaskQueue {
  readonly #groups = new Map<string, Group>();
  readonly #tasks = new Map<string, QueuedTask>();
  #lastKey: { selector: Labels; resources: Resources | undefined; key: string } | undefined;
  readonly #delayed = new Heap<QueuedTask>((task) => task.notBefore!);
  readonly #avoiding = new Heap<QueuedTask>((task) => task.avoid!.until);

  get size(): number {
    return this.#tasks.size;
  }

  get(id: string): QueuedTask | undefined {
    return this.#tasks.get(id);
  }

  add(task: QueuedTask): void {
    this.#tasks.set(task.id, task);
    if (task.notBefore === undefined) this.#group(task).push(task);
    else this.#delayed.push(task);
    if (task.avoid !== undefined) this.#avoiding.push(task);
  }

  /** The heaps drop it when it comes to their top. */
  remove(id: string): void {
    this.#tasks.delete(id);
  }

  /** @returns how many tasks may be assigned from `now` on that could not before. */
  release(now: number): number {
    let released = 0;
    for (let task; (task = this.#delayed.peek()) !== undefined && task.notBefore! <= now;) {
      this.#delayed.pop();
      if (!this.#has(task)) continue;
      task.notBefore = undefined;
      this.#group(task).push(task);
      released++;
    }
    for (let task; (task = this.#avoiding.peek()) !== undefined && task.avoid!.until <= now;) {
      this.#avoiding.pop();
      if (!this.#has(task)) continue;
      // A copy: the entry in its former group is no longer the task's own.
      const { avoid: _, ...free } = task;
      this.#tasks.delete(task.id);
      this.add(free);
      released++;
    }
    return released;
  }

  /**
   * Gives each task, in order, to the best seat that has credit for it; `take` uses that credit up.
   * Stops as soon as `isFull`.
   *
   * A task for which there are too few resources waits, and keeps those that come after it from
   * taking the same ones from the seats that it could have: it would otherwise wait for ever.
   */
  assign<S extends Seat>(
    seats: Iterable<S>,
    isFull: () => boolean,
    take: (task: QueuedTask, seat: S) => void,
    { running, isFree }: AssignLimits<S> = { running: () => 0, isFree: () => true },
  ): void {
    const all = [...seats];
    const open = all.filter((seat) => seat.credits > 0);
    if (open.length === 0 || this.#tasks.size === 0) return;
    const heads = new Heap<{ seq: number; group: Group; fitting: S[] }>((head) => head.seq);
    const offer = (group: Group, fitting: S[]) => {
      const { limited } = group;
      if (limited !== undefined && running(limited.arrayId) >= limited.atOnce) return;
      const task = this.#peek(group);
      if (task !== undefined) heads.push({ seq: task.seq, group, fitting });
    };
    for (const [key, group] of this.#groups) {
      if (this.#peek(group) === undefined) this.#groups.delete(key);
      else {
        const fitting = open.filter((seat) =>
          matches(group.selector, seat.labels) && hasResources(seat.resources, group.resources)
        );
        const others = fitting.filter((seat) => seat.workerId !== group.avoid);
        const waitsForOther = others.length === 0 &&
          all.some((seat) =>
            seat.workerId !== group.avoid && matches(group.selector, seat.labels) &&
            hasResources(seat.resources, group.resources)
          );
        if (fitting.length > 0 && !waitsForOther) {
          offer(group, others.length > 0 ? others : fitting);
        }
      }
    }
    const kept = new KeptResources<S>();
    for (let head; !isFull() && (head = heads.pop()) !== undefined;) {
      const { resources } = head.group;
      const seat = pickSeat(
        resources === undefined
          ? head.fitting
          : head.fitting.filter((each) => isFree(each, resources) && !kept.has(each, resources)),
      );
      if (seat === undefined) {
        if (resources !== undefined) kept.add(head.fitting, resources);
        continue;
      }
      const task = head.group.pop()!;
      this.#tasks.delete(task.id);
      take(task, seat);
      offer(head.group, head.fitting);
    }
  }

  #group(task: QueuedTask): Group {
    const avoid = task.avoid?.workerId;
    const limited = task.atOnce === undefined
      ? undefined
      : { arrayId: baseId(task.id), atOnce: task.atOnce };
    const key = this.#selectorKey(task) +
      (avoid === undefined ? "" : ` not ${avoid}`) +
      (limited === undefined ? "" : ` of ${limited.arrayId}`);
    let group = this.#groups.get(key);
    if (group === undefined) {
      this.#groups.set(key, group = new Group(task, limited));
    }
    return group;
  }

  /** Computed once for the elements of an array, which share these two values. */
  #selectorKey({ selector, resources }: QueuedTask): string {
    const last = this.#lastKey;
    if (last?.selector === selector && last.resources === resources) return last.key;
    const key = selectorKey(selector, resources);
    this.#lastKey = { selector, resources, key };
    return key;
  }

  #has(task: QueuedTask): boolean {
    return this.#tasks.get(task.id) === task;
  }

  #peek(group: Group): QueuedTask | undefined {
    for (let task; (task = group.peek()) !== undefined; group.pop()) {
      if (this.#has(task)) return task;
    }
  }
}

/** What limits an assignment beside the credits of the seats. */
export interface AssignLimits<S> {
  /** Elements of an array that have an attempt; asked of arrays with a limit. */
  running: (arrayId: string) => number;
  /** Whether the seat has these resources free now. */
  isFree: (seat: S, resources: Resources) => boolean;
}

/** Resources that an older task waits for, by seat. */
class KeptResources<S> {
  readonly #names = new Map<S, Set<string>>();

  add(seats: readonly S[], resources: Resources): void {
    for (const seat of seats) {
      const names = this.#names.get(seat) ?? new Set();
      this.#names.set(seat, names);
      for (const name in resources) names.add(name);
    }
  }

  has(seat: S, resources: Resources): boolean {
    const names = this.#names.get(seat);
    return names !== undefined && Object.keys(resources).some((name) => names.has(name));
  }
}

/** Equal for tasks that the same workers can take. */
export function selectorKey(selector: Labels, resources?: Resources): string {
  const names = Object.keys(selector);
  const needs = resources === undefined
    ? ""
    : ` with ${JSON.stringify(Object.entries(resources).sort())}`;
  if (names.length === 0) return needs;
  return needs + JSON.stringify(names.sort().map((name) => [name, selector[name]]));
}

/** A binary heap, least first. */
class Heap<T> {
  readonly #items: T[] = [];
  constructor(readonly rank: (item: T) => number) {}

  peek(): T | undefined {
    return this.#items[0];
  }

  push(item: T): void {
    const items = this.#items;
    let at = items.push(item) - 1;
    for (let parent; at > 0 && this.#before(at, parent = (at - 1) >> 1); at = parent) {
      this.#swap(at, parent);
    }
  }

  pop(): T | undefined {
    const items = this.#items;
    const first = items[0];
    const last = items.pop();
    if (items.length > 0) {
      items[0] = last!;
      for (let at = 0;;) {
        let least = at;
        for (const child of [2 * at + 1, 2 * at + 2]) {
          if (child < items.length && this.#before(child, least)) least = child;
        }
        if (least === at) break;
        this.#swap(at, least);
        at = least;
      }
    }
    return first;
  }

  #before(a: number, b: number): boolean {
    return this.rank(this.#items[a]!) < this.rank(this.#items[b]!);
  }

  #swap(a: number, b: number): void {
    const items = this.#items;
    [items[a], items[b]] = [items[b]!, items[a]!];
  }
}

class Group extends Heap<QueuedTask> {
  readonly selector: Labels;
  readonly resources: Resources | undefined;
  /** The worker that its tasks prefer to avoid. */
  readonly avoid: string | undefined;

  constructor(
    { selector, resources, avoid }: QueuedTask,
    /** An array of which only some elements run at once has a group of its own. */
    readonly limited: { arrayId: string; atOnce: number } | undefined,
  ) {
    super((task) => task.seq);
    this.selector = selector;
    this.resources = resources;
    this.avoid = avoid?.workerId;
  }
}
