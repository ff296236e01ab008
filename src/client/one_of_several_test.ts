import assert from "node:assert/strict";
import { TaskError, type TaskErrorCode, type TaskService } from "../tasks/service.ts";
import { aTask, aWorker, fakeTasks } from "../../tests/support/fake_tasks.ts";
import { oneOfSeveral } from "./one_of_several.ts";

const fails = (code: TaskErrorCode) => () => Promise.reject(new TaskError(code, `says ${code}`));
const silent = fakeTasks(new Proxy({}, { get: () => fails("unavailable") }));

/** A coordinator with these tasks. */
function holding(ids: string[], more: Partial<TaskService> = {}): TaskService {
  return fakeTasks({
    getTask: (id) => ids.includes(id) ? Promise.resolve([aTask({ id })]) : fails("not_found")(),
    listTasks: () => Promise.resolve({ tasks: ids.map((id) => aTask({ id })), more: false }),
    ...more,
  });
}

function over(...tasks: TaskService[]): { tasks: TaskService; missing: string[] } {
  const missing: string[] = [];
  const coordinators = tasks.map((each, i) => ({ address: `c${i}:1`, tasks: each }));
  const unanswered = (address: string) => missing.push(address);
  const again = <T>(ask: () => Promise<T>) => ask().catch(ask);
  return { tasks: oneOfSeveral(coordinators, { unanswered, again }), missing };
}

const spec = aTask().spec;
const submitted = (id: string) => () => Promise.resolve({ id, taskIds: [id], existing: false });

Deno.test("submit goes to the first coordinator that can be reached, in one call", async () => {
  const unsent = (code: TaskErrorCode) => () =>
    Promise.reject(new TaskError(code, `says ${code}`, undefined, { unsent: true }));
  const away = fakeTasks({ submit: unsent("unavailable") });
  const foreign = fakeTasks({ submit: unsent("unauthenticated") });
  const { tasks } = over(away, foreign, fakeTasks({ submit: submitted("b") }), holding(["c"]));
  assert.equal((await tasks.submit(spec)).id, "b");
  await assert.rejects(over(away, away).tasks.submit(spec), { code: "unavailable" });
  await assert.rejects(over(away, foreign).tasks.submit(spec), { code: "unauthenticated" });
  const full = fakeTasks({ submit: fails("exhausted") });
  await assert.rejects(over(full, fakeTasks({ submit: submitted("b") })).tasks.submit(spec), {
    code: "exhausted",
  });
});

Deno.test("a submit whose answer is lost is sent again under its key, and to nobody else", async () => {
  const keys: (string | undefined)[] = [];
  const first = (answers: number) =>
    holding([], {
      submit(_, options) {
        keys.push(options?.idempotencyKey);
        return keys.length < answers ? fails("unavailable")() : submitted("a")();
      },
    });
  const second = holding([], { submit: submitted("twice") });
  assert.equal((await over(first(2), second).tasks.submit(spec)).id, "a");
  assert.equal(keys.length, 2);
  assert.ok(keys[0]);
  assert.equal(keys[0], keys[1]);
  await assert.rejects(over(first(9), second).tasks.submit(spec), { code: "unavailable" });
  await over(first(0)).tasks.submit(spec, { idempotencyKey: "mine" });
  assert.equal(keys.at(-1), "mine");
});

Deno.test("a task is found on whichever coordinator knows it", async () => {
  const cancelled = () => Promise.resolve([aTask({ id: "y", state: "cancelled" })]);
  const { tasks } = over(holding(["x"]), silent, holding(["y"], { cancelTask: cancelled }));
  assert.equal((await tasks.getTask("y"))[0]!.id, "y");
  assert.equal((await tasks.cancelTask("y"))[0]!.state, "cancelled");
});

Deno.test("what no coordinator knows is not found, unless one did not answer", async () => {
  await assert.rejects(over(holding([]), holding([])).tasks.getTask("z"), { code: "not_found" });
  await assert.rejects(over(holding([]), silent).tasks.getTask("z"), {
    code: "unavailable",
    message: 'No coordinator that answered knows task "z", and "c1:1" did not answer',
  });
  const strange = holding([], { getTask: fails("unauthenticated") });
  await assert.rejects(over(holding([]), strange, silent).tasks.getTask("z"), {
    code: "unauthenticated",
  });
});

Deno.test("lists are merged, newest first, and say who is missing", async () => {
  const { tasks, missing } = over(holding(["e", "c", "a"]), silent, holding(["d", "b"]));
  const list = await tasks.listTasks({ limit: 4 });
  assert.deepEqual(list.tasks.map(({ id }) => id), ["e", "d", "c", "b"]);
  assert.equal(list.more, true);
  assert.deepEqual(missing, ["c1:1"]);
  await assert.rejects(over(silent, silent).tasks.listTasks({}), { code: "unavailable" });
});

Deno.test("a worker of several coordinators is listed once, with all that it runs", async () => {
  const seen = (health: "healthy" | "lost", running: number) =>
    fakeTasks({ listWorkers: () => Promise.resolve([aWorker("w", { health, running })]) });
  const [worker, ...others] = await over(seen("lost", 1), seen("healthy", 2)).tasks.listWorkers();
  assert.equal(others.length, 0);
  assert.deepEqual([worker!.health, worker!.running], ["healthy", 3]);
});

Deno.test("a worker is drained on every coordinator that knows it", async () => {
  const drained: string[] = [];
  const knows = (name: string) =>
    fakeTasks({
      drainWorker: (id) => {
        drained.push(name);
        return Promise.resolve(aWorker(id, { draining: true }));
      },
    });
  const ignorant = fakeTasks({ drainWorker: fails("not_found") });
  const { tasks } = over(knows("a"), ignorant, knows("b"));
  assert.equal((await tasks.drainWorker("w")).draining, true);
  assert.deepEqual(drained, ["a", "b"]);
  await assert.rejects(over(ignorant, ignorant).tasks.drainWorker("w"), { code: "not_found" });
  await assert.rejects(over(knows("a"), silent).tasks.drainWorker("w"), { code: "unavailable" });
});

Deno.test("watching merges the streams of the coordinators that own the tasks", async () => {
  const watched = (...own: string[]) =>
    holding(own, {
      async *watchTasks(ids) {
        for (const id of ids.length === 0 ? own : ids) {
          yield aTask({ id });
          await Promise.resolve();
        }
      },
      async *watchChanges() {
        yield { deletedId: own[0]! };
      },
    });
  const { tasks } = over(watched("a", "b"), watched("c", "d"));
  const { signal } = new AbortController();
  const ids = async (asked: string[]) =>
    (await Array.fromAsync(tasks.watchTasks(asked, signal))).map(({ id }) => id).sort();
  assert.deepEqual(await ids(["a", "d"]), ["a", "d"]);
  assert.deepEqual(await ids([]), ["a", "b", "c", "d"]);
  const changes = await Array.fromAsync(tasks.watchChanges(signal));
  assert.deepEqual(changes, [{ deletedId: "a" }, { deletedId: "c" }]);
});

Deno.test("state is on the first coordinator only", async () => {
  const entry = { namespace: "n", key: "k", value: new Uint8Array(), revision: 1, updatedAt: 0 };
  const second = fakeTasks({ getState: () => Promise.resolve(entry) });
  await assert.rejects(over(silent, second).tasks.getState("n", "k"), { code: "unavailable" });
});
