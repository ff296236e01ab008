/** A coordinator says the same over gRPC and over a node. */
import assert from "node:assert/strict";
import { systemClock } from "../../src/base/clock.ts";
import { nodeClient } from "../../src/mesh/node_client.ts";
import { remoteTasks } from "../../src/mesh/remote_tasks.ts";
import { dialCoordinator } from "../../src/peer/client.ts";
import { TaskError, type TaskService } from "../../src/tasks/service.ts";
import { isFinished } from "../../src/tasks/task.ts";
import { tempHome } from "../support/home.ts";
import { startServed, token } from "../support/lone_node.ts";
import { silentLog } from "../support/silent_log.ts";
import { spec } from "../support/spec.ts";

Deno.test("the same question has the same answer over gRPC and over a node", async () => {
  await using home = await tempHome();
  await using cluster = await startServed(home, {
    worker: ["--worker.slots=4", "--worker.resources=gpu=1"],
  });
  const { coordinator, node } = cluster;
  const env = { clock: systemClock, log: silentLog };
  await using direct = await dialCoordinator(coordinator.address, { mode: "h2c" }, env);
  using client = nodeClient({
    url: `http://${node.address}`,
    token: () => token(home),
    trust: undefined,
    clock: systemClock,
  });
  const wires = [direct.tasks, remoteTasks(client, () => {})] as const;
  const ids = await someTasks(wires);
  for (const [name, ask] of Object.entries(questions(ids))) {
    const [one, other] = await Promise.all(
      wires.map(async (tasks) => comparable(await ask(tasks))),
    );
    assert.deepEqual(other, one, name);
  }
});

const { signal: never } = new AbortController();

/** Of each kind some, submitted over both wires in turns; settles when they have ended. */
async function someTasks(wires: readonly TaskService[]): Promise<string[]> {
  const shell = (line: string) => ({ argv: ["sh", "-c", line] });
  const nowhere = { selector: { no: "where" } };
  const specs = [
    {
      ...shell("echo out; echo err >&2; printf '\\377\\0'; mkdir d; echo x >d/f; : >'a %?#é'"),
      artifacts: ["**"],
    },
    { ...shell("exit 3"), retries: 1 },
    shell("kill -9 $$"),
    { argv: ["/no/such/program"] },
    { argv: ["sleep", "60"], timeoutMs: 200, env: { A: "é\n" } },
    { argv: ["cat"], stdin: new Uint8Array([1, 255]) },
    { argv: ["true"], resources: { gpu: 1 }, maxLost: 7 },
    { argv: ["true"], ...nowhere, lostAfterMs: 0, cwd: "/tmp" },
  ];
  const ids: string[] = [];
  const submit = async (...task: Parameters<TaskService["submit"]>) => {
    ids.push((await wires[ids.length % wires.length]!.submit(...task)).id);
  };
  for (const each of specs) await submit(spec(each));
  await submit(spec(shell("echo $AGENT_ARRAY_INDEX; test $AGENT_ARRAY_INDEX != 1")), {
    array: { first: 0, last: 11 },
  });
  await submit(spec(shell("echo $AGENT_LINE")), { lines: ["one", "two words", "é"] });
  await wires[0]!.cancelTask(ids[7]!);
  for await (const _ of wires[0]!.watchTasks(ids, never));
  return ids;
}

/** What an id that is none of ours, or none at all, is answered with. */
const strangers = ["00000000000000", "00000000000000.1", "zzz", "a/b", "%41", "..."];

function questions(ids: string[]): Record<string, (tasks: TaskService) => unknown> {
  const [left, failed] = ids as [string, string];
  const array = ids.at(-2)!;
  const found: ReturnType<typeof questions> = {
    "all tasks": (tasks) => tasks.listTasks({}),
    "a page of tasks": (tasks) => tasks.listTasks({ limit: 7 }),
    "the next page": (tasks) => tasks.listTasks({ limit: 7, before: `${array}.7` }),
    "tasks by state": (tasks) => tasks.listTasks({ states: ["failed", "timed_out"], limit: 3 }),
    "tasks before a stranger": (tasks) => tasks.listTasks({ before: "zzz" }),
    "nobody's tasks": (tasks) => tasks.listTasks({ submitter: "nobody" }),
    "what would be pruned": (tasks) => tasks.pruneTasks({ olderThanMs: 0, dryRun: true }),
    "the second attempt": (tasks) => logOf(tasks, { taskId: failed, attempt: 2 }),
    "no such attempt": (tasks) => logOf(tasks, { taskId: failed, attempt: 9 }),
    "part of a log": (tasks) => logOf(tasks, { taskId: left, stdoutOffset: 2 }),
    "artifacts of no attempt": (tasks) => tasks.listArtifacts(left, 9),
    "small files": async (tasks) =>
      (await tasks.getArtifacts!(left, 1, ["d/f", "a %?#é"])).map((each) => [...each]),
    "a small file that is not there": (tasks) => tasks.getArtifacts!(left, 1, ["none"]),
    "a file": (tasks) => Array.fromAsync(readFile(tasks, left, "d/f")),
    "an array and a task, followed": (tasks) => followed(tasks, [left, array]),
    "a stranger, followed": (tasks) => followed(tasks, ["00000000000000"]),
    "the end of a task": (tasks) => Array.fromAsync(tasks.watchTasks([failed], never)),
    "a worker that is not there": (tasks) => tasks.drainWorker("none"),
    "no key": (tasks) => tasks.getState("n", "k"),
    "a key that has no such revision": (tasks) => tasks.putState("n", "k", new Uint8Array(), 7),
    "keys of nothing": (tasks) => tasks.listState("n", ""),
    "a value that is too large": (tasks) => tasks.putState("n", "k", new Uint8Array(2 ** 20 + 1)),
  };
  for (const id of [...ids, ...strangers]) {
    found[`the task ${id}`] = (tasks) => tasks.getTask(id);
    found[`the log of ${id}`] = (tasks) => logOf(tasks, { taskId: id });
    found[`the artifacts of ${id}`] = (tasks) => tasks.listArtifacts(id);
    found[`cancelling ${id}`] = (tasks) => tasks.cancelTask(id);
  }
  for (const id of strangers) {
    found[`retrying ${id}`] = (tasks) => tasks.retryTask(id);
    found[`deleting ${id}`] = (tasks) => tasks.deleteTask(id);
  }
  return Object.fromEntries(
    Object.entries(found).map(([name, ask]) => [name, (tasks) => errorsToo(() => ask(tasks))]),
  );
}

async function logOf(tasks: TaskService, query: Parameters<TaskService["readLog"]>[0]) {
  const text: Record<string, number[]> = { stdout: [], stderr: [] };
  for await (const { stream, data } of tasks.readLog(query, never)) text[stream]!.push(...data);
  return text;
}

async function* readFile(tasks: TaskService, taskId: string, path: string) {
  for await (const { data } of tasks.readArtifact({ taskId, path }, never)) yield* data;
}

/** In an order that does not depend on what came in one part. */
async function followed(tasks: TaskService, ids: string[]) {
  const parts = await Array.fromAsync(tasks.followTasks!(ids, [], never));
  const items = parts.flat().map((item) =>
    "piece" in item ? { ...item, piece: { ...item.piece, data: [...item.piece.data] } } : item
  );
  assert.ok(items.every((item) => !("finished" in item) || isFinished(item.finished.state)));
  return items.map((item) => JSON.stringify(comparable(item))).sort();
}

async function errorsToo(ask: () => unknown): Promise<unknown> {
  try {
    return await ask();
  } catch (error) {
    assert.ok(error instanceof TaskError, String(error));
    const { code, message, revision } = error;
    return { code, message, revision };
  }
}

/** Without what only a coordinator's own business is, and without what is undefined. */
function comparable(answer: unknown): unknown {
  const text = JSON.stringify(
    answer,
    (name, value) =>
      name === "fence" ? undefined : value instanceof Uint8Array ? [...value] : value,
  );
  return text === undefined ? undefined : JSON.parse(text);
}
