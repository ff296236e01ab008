/** Calls that are under way when the coordinator stops. */
import assert from "node:assert/strict";
import { TaskError } from "../../src/tasks/service.ts";
import { EngineHarness, FakeWorker, type TestEngine } from "../support/engine.ts";
import { spec } from "../support/spec.ts";

const { signal: never } = new AbortController();
const nowhere = { selector: { no: "where" } };
const keyed = { idempotencyKey: "again" };

/** @param ids of a task that waits, an array that waits, and a task that has failed. */
type Call = (engine: TestEngine, ids: { waits: string; array: string; failed: string }) => unknown;

const calls: Record<string, Call> = {
  submit: (engine) => engine.submit(spec()),
  "submit with a key": (engine) => engine.submit(spec(), keyed),
  "submit an array": (engine) => engine.submit(spec(), { array: { first: 0, last: 999 } }),
  getTask: (engine, { array }) => engine.getTask(array),
  listTasks: (engine) => engine.listTasks({ limit: 500 }),
  cancelTask: (engine, { waits }) => engine.cancelTask(waits),
  "cancel an array": (engine, { array }) => engine.cancelTask(array),
  retryTask: (engine, { failed }) => engine.retryTask(failed),
  deleteTask: (engine, { failed }) => engine.deleteTask(failed),
  pruneTasks: (engine) => engine.pruneTasks({ olderThanMs: 0 }),
  readLog: (engine, { failed }) => Array.fromAsync(engine.readLog({ taskId: failed }, never)),
  listArtifacts: (engine, { failed }) => engine.listArtifacts(failed),
  getArtifacts: (engine, { failed }) => engine.getArtifacts!(failed, 1, ["none"]),
  followTasks: (engine, { array }) => Array.fromAsync(engine.followTasks!([array], [], never)),
  watchTasks: (engine, { waits }) => Array.fromAsync(engine.watchTasks([waits], never)),
  watchChanges: (engine) => Array.fromAsync(engine.watchChanges(never)),
  drainWorker: (engine) => engine.drainWorker("w1"),
  putState: (engine) => engine.putState("n", "k", new Uint8Array(9)),
  listState: (engine) => engine.listState("n", ""),
  watchState: (engine) => Array.fromAsync(engine.watchState("n", "", never)),
};

Deno.test("a call that the stop of the coordinator meets anywhere is unavailable, so that it is made again", async () => {
  using _slow = slowDigests(30);
  const ended = new Set<string>();
  // The stop comes after so many turns of the event loop.
  for (const turns of [0, 1, 2, 3]) {
    await Promise.all(
      Object.entries(calls).map(async ([name, call]) => {
        await using harness = new EngineHarness();
        const { engine } = harness;
        const { id: failed } = await engine.submit(spec());
        const worker = await FakeWorker.connect(engine);
        const [given] = await worker.take(1);
        await worker.finish(given!.ref, { state: "failed" });
        const { id: waits } = await engine.submit(spec(nowhere));
        const { id: array } = await engine.submit(spec(nowhere), {
          array: { first: 0, last: 300 },
        });
        const answer = (async () => await call(engine, { waits, array, failed }))();
        const error = answer.then(() => undefined, (error) => error);
        for (let turn = 0; turn < turns; turn++) await new Promise((done) => setImmediate(done));
        await engine[Symbol.asyncDispose]();
        const found = await error;
        if (found === undefined) return;
        assert.ok(found instanceof TaskError, `${name}, ${turns}: ${found?.stack}`);
        if (found.code === "unavailable") ended.add(name);
        // What it asks for may not be there.
        else assert.match(found.code, /^(not_found|wrong_state)$/, `${name}: ${found.message}`);
      }),
    );
  }
  for (const name of ["submit with a key", "getTask", "followTasks", "watchChanges"]) {
    assert.ok(ended.has(name), `no stop has met ${name}`);
  }
});

/** As on a busy host. */
function slowDigests(ms: number): Disposable {
  const { digest } = crypto.subtle;
  crypto.subtle.digest = async (...args: Parameters<typeof digest>) => {
    await new Promise((done) => setTimeout(done, ms));
    return await digest.apply(crypto.subtle, args);
  };
  return { [Symbol.dispose]: () => void (crypto.subtle.digest = digest) };
}
