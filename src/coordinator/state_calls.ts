import {
  validateStateKey,
  validateStateNamespace,
  validateStateValue,
} from "../tasks/validation.ts";
import { anySignal } from "../deno/any_signal.ts";
import { type CallContext, throwIfStopping } from "./call_context.ts";
import { type StateChange, TaskError } from "../tasks/service.ts";
import type { Identity, StateEntry } from "../tasks/task.ts";

export function getState({ leaseTable }: CallContext, namespace: string, key: string): StateEntry {
  validateStateNamespace(namespace);
  validateStateKey(key);
  const entry = leaseTable.store.state(namespace, key);
  if (entry === undefined) throw noSuchKey(namespace, key);
  return entry;
}

function noSuchKey(namespace: string, key: string): TaskError {
  return new TaskError("not_found", `There is no key "${key}" in the namespace "${namespace}"`);
}

export async function putState(
  context: CallContext,
  namespace: string,
  key: string,
  value: Uint8Array,
  ifRevision?: number,
  by?: Identity,
): Promise<StateEntry> {
  validateStateNamespace(namespace);
  validateStateKey(key);
  validateStateValue(value);
  context.checkRoom();
  const { leaseTable } = context;
  const at = leaseTable.clock.now();
  const change = { kind: "put_state", namespace, key, value, ifRevision, at, by } as const;
  const outcome = await leaseTable.commits.write(change);
  if (outcome !== undefined && "entry" in outcome) {
    context.stateFeed.tell(namespace, key);
    return outcome.entry;
  }
  throw conflict(key, ifRevision, outcome);
}

export async function deleteState(
  { leaseTable, stateFeed }: CallContext,
  namespace: string,
  key: string,
  ifRevision?: number,
): Promise<{ revision: number }> {
  validateStateNamespace(namespace);
  validateStateKey(key);
  const change = { kind: "delete_state", namespace, key, ifRevision } as const;
  const outcome = await leaseTable.commits.write(change);
  if (outcome !== undefined && "revision" in outcome) {
    stateFeed.tell(namespace, key);
    return outcome;
  }
  if (ifRevision === undefined) throw noSuchKey(namespace, key);
  throw conflict(key, ifRevision, outcome);
}

function conflict(key: string, expected: number | undefined, outcome: unknown): TaskError {
  const current = (outcome as { conflict: number }).conflict;
  const found = current === 0 ? "it does not exist" : `its revision is ${current}`;
  return new TaskError("conflict", `"${key}" is not at revision ${expected}: ${found}`, current);
}

/** A list is held whole by its reader; beyond this many bytes the caller has to narrow the prefix. */
const maxListedBytes = 3 * 1024 * 1024;

/** The entries by key. What changes while they are read is in the answer or not. */
export async function* listState(
  { leaseTable: { store }, slices }: CallContext,
  namespace: string,
  prefix: string,
): AsyncGenerator<StateEntry> {
  validateStateNamespace(namespace);
  if (prefix !== "") validateStateKey(prefix);
  let bytes = 0;
  let key = "";
  for (let entry; (entry = store.stateAfter(namespace, prefix, key)) !== undefined;) {
    bytes += entry.value.length + entry.key.length + 64;
    if (bytes > maxListedBytes) {
      throw new TaskError(
        "exhausted",
        `The entries of "${namespace}" are too many for one answer; ask with a longer prefix`,
      );
    }
    key = entry.key;
    yield entry;
    await slices.pace();
  }
}

/** The entries by key, then each that changes: of changes that were not read yet the newest. */
export async function* watchState(
  context: CallContext,
  namespace: string,
  prefix: string,
  signal: AbortSignal,
): AsyncGenerator<StateChange> {
  const { leaseTable: { store }, slices, stateFeed, stopping } = context;
  validateStateNamespace(namespace);
  if (prefix !== "") validateStateKey(prefix);
  throwIfStopping(context);
  using subscription = stateFeed.subscribe(namespace);
  using stop = anySignal(signal, stopping);
  let key = "";
  for (let entry; (entry = store.stateAfter(namespace, prefix, key)) !== undefined;) {
    key = entry.key;
    yield { entry };
    await slices.pace("whenever");
    if (signal.aborted) return;
  }
  yield { complete: true };
  for (;;) {
    await subscription.wait(stop);
    if (signal.aborted) return;
    throwIfStopping(context);
    for (const changed of subscription.take()) {
      if (!changed.startsWith(prefix)) continue;
      const entry = store.state(namespace, changed);
      yield entry === undefined ? { deletedKey: changed } : { entry };
      await slices.pace("whenever");
      if (signal.aborted) return;
    }
  }
}
