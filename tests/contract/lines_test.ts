/** Arrays that run a command for each line of a text. */
import assert from "node:assert/strict";
import type { TaskSpec } from "../../src/tasks/task.ts";
import { EngineHarness, FakeWorker, taskError } from "../support/engine.ts";
import { spec } from "../support/spec.ts";

Deno.test("each element of an array of lines has its own, also after a restart and a retry", async () => {
  await using harness = new EngineHarness();
  const lines = ["a b", "", "ü'\"\\"];
  const wanted = spec({ env: { A: "1" }, retries: 1 });
  const { id, taskIds } = await harness.engine.submit(wanted, { lines, idempotencyKey: "k" });
  assert.deepEqual(taskIds, [`${id}.0`, `${id}.1`, `${id}.2`]);
  const again = await harness.engine.submit(wanted, { lines, idempotencyKey: "k" });
  assert.deepEqual([again.id, again.existing], [id, true]);
  const others = harness.engine.submit(wanted, { lines: ["c"], idempotencyKey: "k" });
  await assert.rejects(others, taskError("already_exists"));
  const lineOf = ({ env }: TaskSpec) => [env.A, env.AGENT_LINE];
  const expected = lines.map((line) => ["1", line]);
  await harness.restart();
  assert.deepEqual((await harness.engine.getTask(id)).map((task) => lineOf(task.spec)), expected);
  const worker = await FakeWorker.connect(harness.engine);
  worker.session.credit(4);
  await worker.until(() => worker.assigned.length === 3);
  assert.deepEqual(worker.assigned.map((each) => lineOf(each.spec)), expected);
  await worker.finish(worker.assigned[2]!.ref, { state: "failed", exitCode: 1 });
  await worker.until(() => worker.assigned.length === 4);
  assert.deepEqual(lineOf(worker.assigned[3]!.spec), expected[2]);
});

Deno.test("lines that are none, too many or too large are refused", async () => {
  await using harness = new EngineHarness();
  const large = { env: { A: "x".repeat(20_000) } };
  const wrong: [string[], Partial<TaskSpec>?][] = [
    ...[[[]], [Array(10_001).fill("a")], [["a\0b"]], [["x".repeat(2 ** 20), "y"]]] as [string[]][],
    [["a"], large],
  ];
  for (const [lines, more] of wrong) {
    await assert.rejects(harness.engine.submit(spec(more), { lines }), taskError("invalid"));
  }
  const both = { lines: ["a"], array: { first: 0, last: 0 } };
  await assert.rejects(harness.engine.submit(spec(), both), taskError("invalid", /not both/));
});
