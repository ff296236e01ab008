import { elementId } from "../tasks/ids.ts";
import { specOfLine } from "../tasks/lines.ts";
import { type SubmitOptions, type Submitted, TaskError } from "../tasks/service.ts";
import type { Identity, TaskSpec } from "../tasks/task.ts";
import {
  validateArray,
  validateIdempotencyKey,
  validateLines,
  validateSpec,
} from "../tasks/validation.ts";
import { type CallContext, tasksOf, throwIfStopping } from "./call_context.ts";
import type { NewTask } from "./store.ts";

interface KeyUse {
  text: string;
  hash: string;
}

/** Settles when the tasks are on disk. */
export async function submit(
  context: CallContext,
  spec: TaskSpec,
  options: SubmitOptions = {},
): Promise<Submitted> {
  validateSpec(spec);
  const { lines, idempotencyKey } = options;
  if (lines !== undefined) validateLines(lines, spec);
  if (lines !== undefined && options.array !== undefined) {
    throw new TaskError("invalid", "A task has an array or lines, not both");
  }
  const array = lines === undefined ? options.array : { first: 0, last: lines.length - 1 };
  if (array !== undefined) {
    validateArray(array);
    await context.slices.pace();
  }
  let key: KeyUse | undefined;
  if (idempotencyKey !== undefined) {
    validateIdempotencyKey(idempotencyKey);
    key = { text: idempotencyKey, hash: await requestHash(spec, array, lines) };
    const { commits } = context.leaseTable;
    while (commits.locked(`key ${key.text}`)) await commits.settled();
    // No await from here to the write: a call at the same time would find the key unused, too.
    const known = knownSubmission(context, key);
    if (known !== undefined) {
      return { id: known, taskIds: [...await tasksOf(context, [known])], existing: true };
    }
  }
  throwIfStopping(context);
  context.checkRoom();
  const id = context.newId();
  const { leaseTable } = context;
  const tasks: NewTask[] = array === undefined
    ? [{ seq: leaseTable.takeSeq(), id, arrayIndex: undefined }]
    : Array.from(indicesOf(array), (index) => ({
      seq: leaseTable.takeSeq(),
      id: elementId(id, index),
      arrayIndex: index,
    }));
  const { submitter } = options;
  const isArray = array !== undefined;
  await store(context, { id, tasks, spec, lines, key, isArray, submitter });
  // The answer to a large one takes its time as well.
  if (isArray) await context.slices.pace();
  return { id, taskIds: tasks.map((task) => task.id), existing: false };
}

function* indicesOf({ first, last, more = [] }: ArrayIndices): Generator<number> {
  for (const range of [{ first, last }, ...more]) {
    for (let index = range.first; index <= range.last; index++) yield index;
  }
}

type ArrayIndices = NonNullable<SubmitOptions["array"]>;

/** The task or array of an earlier call with this key, if there was one. */
function knownSubmission(
  { leaseTable: { store } }: CallContext,
  key: KeyUse,
): string | undefined {
  const known = store.submission(key.text);
  if (known === undefined || known.hash === key.hash) return known?.id;
  throw new TaskError(
    "already_exists",
    `The idempotency key "${key.text}" was used for another request, task ${known.id}`,
  );
}

interface NewTasks {
  /** The task's id, or the array's. */
  id: string;
  tasks: NewTask[];
  spec: TaskSpec;
  lines: readonly string[] | undefined;
  key: KeyUse | undefined;
  isArray: boolean;
  submitter: Identity | undefined;
}

async function store(context: CallContext, wanted: NewTasks) {
  const { id, tasks, spec, lines, key, isArray, submitter } = wanted;
  const { commits, clock, queue } = context.leaseTable;
  const arrayId = isArray ? id : undefined;
  const written = commits.write(
    { kind: "submit", tasks, spec, lines, at: clock.now(), arrayId, key, submitter },
    {
      task: id,
      ...(isArray ? { large: true } : {}),
      ...(key === undefined ? {} : { lock: `key ${key.text}` }),
      undo: () => tasks.forEach((task) => queue.remove(task.id)),
    },
  );
  if (commits.failing === undefined) {
    const since = clock.monotonic();
    const { selector, atOnce, resources } = spec;
    for (const { seq, id, arrayIndex } of tasks) {
      queue.add({
        seq,
        id,
        selector,
        atOnce,
        resources,
        notBefore: undefined,
        failures: 0,
        losses: 0,
        attempts: 0,
        spec: lines === undefined ? spec : specOfLine(spec, lines[arrayIndex!]!),
        since,
      });
    }
  }
  await written;
  // The commit of a large array has held the event loop for long enough.
  if (isArray) await new Promise<void>((resolve) => setImmediate(resolve));
  // The store has the spec now; a million waiting tasks should not hold theirs in memory.
  for (const task of tasks) {
    const queued = queue.get(task.id);
    if (queued !== undefined) queued.spec = undefined;
  }
  if (isArray) context.changes.tell(tasks.map((task) => task.id));
}

async function requestHash(
  spec: TaskSpec,
  array: SubmitOptions["array"],
  lines: SubmitOptions["lines"],
): Promise<string> {
  const sorted = (record: Readonly<Record<string, unknown>>) =>
    Object.entries(record).sort(([a], [b]) => a < b ? -1 : 1);
  const { noRequeue = false, maxLost = null, lostAfterMs } = spec;
  // Left out where it is not set: the hashes of older requests are stored without it.
  const onLoss = noRequeue || maxLost !== null ? [[noRequeue, maxLost]] : [];
  const text = JSON.stringify([
    spec.argv,
    sorted(spec.env),
    spec.cwd ?? null,
    sorted(spec.selector),
    spec.timeoutMs ?? null,
    spec.retries,
    spec.retryDelayMs,
    spec.artifacts,
    array === undefined ? null : [array.first, array.last],
    ...onLoss,
    ...(array?.more === undefined ? [] : [array.more.map(({ first, last }) => [first, last])]),
    ...(spec.resources === undefined ? [] : [sorted(spec.resources)]),
    ...(spec.stdin === undefined ? [] : [spec.stdin.toBase64()]),
    ...(spec.atOnce === undefined ? [] : [spec.atOnce]),
    ...(lines === undefined ? [] : [lines]),
    ...(lostAfterMs === undefined ? [] : [{ lostAfterMs }]),
  ]);
  const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(text));
  return new Uint8Array(digest).toHex();
}
