import type { TimeSlices } from "../base/time_slices.ts";
import { isTaskId } from "../tasks/ids.ts";
import { TaskError } from "../tasks/service.ts";
import type { ChangeFeed } from "./change_feed.ts";
import type { LeaseTable } from "./lease_table.ts";
import type { Removal } from "./removal.ts";
import type { WorkerRegistry } from "./worker_registry.ts";

/** What the calls of clients work on. */
export interface CallContext {
  leaseTable: LeaseTable;
  registry: WorkerRegistry;
  removal: Removal;
  changes: ChangeFeed;
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

/** The id of a task, or those of an array's elements, in order; at least one. */
export function taskIdsOf({ leaseTable }: CallContext, id: string): string[] {
  const ids = isTaskId(id) ? leaseTable.store.taskIds(id) : [];
  if (ids.length === 0) throw noSuchTask(id);
  return ids;
}
