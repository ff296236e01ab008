import type { TimeSlices, Urgency } from "../base/time_slices.ts";
import { baseId, isTaskId } from "../tasks/ids.ts";
import { limits } from "../tasks/limits.ts";
import { TaskError } from "../tasks/service.ts";
import type { ChangeFeed } from "./change_feed.ts";
import type { StateFeed } from "./state_feed.ts";
import type { LeaseTable } from "./lease_table.ts";
import { TaskList } from "./task_list.ts";
import type { Removal } from "./removal.ts";
import type { WorkerRegistry } from "./worker_registry.ts";

/** What the calls of clients work on. */
export interface CallContext {
  leaseTable: LeaseTable;
  registry: WorkerRegistry;
  removal: Removal;
  changes: ChangeFeed;
  stateFeed: StateFeed;
  slices: TimeSlices;
  newId: () => string;
  /** Aborts with a `TaskError` when the coordinator stops. */
  stopping: AbortSignal;
  /** Throws a `TaskError` while nothing new can be stored. */
  checkRoom: () => void;
}

export function throwIfStopping({ stopping }: Pick<CallContext, "stopping">): void {
  if (stopping.aborted) throw stopping.reason;
}

export function noSuchTask(id: string): TaskError {
  return new TaskError("not_found", `There is no task "${id.slice(0, 100)}"`);
}

/**
 * The tasks with these ids, and the elements of these arrays, in order. A call that reads them waits for
 * its turn.
 *
 * @throws {TaskError} `not_found` where there is none with one of the ids; `exhausted` where there are
 * too many.
 */
export async function tasksOf(
  context: Pick<CallContext, "leaseTable" | "slices" | "stopping">,
  ids: Iterable<string>,
  urgency?: Urgency,
): Promise<TaskList> {
  const { leaseTable: { store }, slices } = context;
  const tasks = new TaskList();
  // Arrays first: an element that is named beside its array is one of that array's.
  for (const id of [...ids].sort((a, b) => Number(isElement(a)) - Number(isElement(b)))) {
    await slices.pace(urgency);
    throwIfStopping(context);
    if (isTaskId(id) && store.progress(id) !== undefined) tasks.add(id);
    else {
      const elements = isTaskId(id) ? store.elements(id) : new Uint32Array();
      if (elements.length === 0) throw noSuchTask(id);
      tasks.add(id, elements);
    }
    if (tasks.length > limits.maxWatched) {
      throw new TaskError("exhausted", `These are more than ${limits.maxWatched} tasks`);
    }
  }
  return tasks;
}

function isElement(id: string): boolean {
  return baseId(id) !== id;
}
