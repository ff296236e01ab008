import assert from "node:assert/strict";
import { anAttempt, aTask, memory } from "../../../tests/support/fake_tasks.ts";
import { taskView } from "../../client/views.ts";
import type { Task } from "../../tasks/task.ts";
import { arrayPage } from "./array_page.ts";
import { colors } from "./terminal.ts";

Deno.test("an array shows its totals, and failures before everything else", () => {
  const element = (arrayIndex: number, state: Task["state"]) =>
    taskView(aTask({
      id: `a.${arrayIndex}`,
      arrayId: "a",
      arrayIndex,
      state,
      attempts: [anAttempt(1)],
    }));
  const tasks = Array.from(
    { length: 10_000 },
    (_, i) => element(i, i === 7_000 ? "failed" : i === 9_000 ? "running" : "succeeded"),
  );
  // Its worker has it, and has not started it.
  tasks[9_001] = element(9_001, "running");
  tasks[9_001].attempts[0]!.started_at = null;
  const page = arrayPage("a", tasks, { colors: colors(memory()), width: undefined, now: 0 });
  const lines = page.trimEnd().split("\n");
  assert.equal(lines[0], "Array    a, 10000 tasks");
  assert.equal(lines[1], "States   1 assigned, 1 running, 9997 succeeded, 1 failed");
  assert.equal(lines[2], "Command  true");
  assert.match(lines[5]!, /^a\.7000 +failed/);
  assert.match(lines[6]!, /^a\.9000 +running/);
  assert.match(lines[8]!, /^a\.0 +succeeded/);
  assert.equal(lines.at(-1), "9980 more are not shown; --json prints all of them");
});
