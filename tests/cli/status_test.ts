import assert from "node:assert/strict";
import { agent } from "../support/agent.ts";
import { anAttempt, aTask, aWorker } from "../support/fake_tasks.ts";
import type { TaskQuery } from "../../src/tasks/service.ts";
import type { Task } from "../../src/tasks/task.ts";
import { fakeCoordinator } from "./fake_coordinator.ts";

const now = Date.now();
const failed = (id: string, finishedAt: number) =>
  aTask({ id, state: "failed", finishedAt, attempts: [anAttempt(1, { exitCode: 3 })] });
const all: Task[] = [
  aTask({ id: "running1", state: "running" }),
  aTask({ id: "queued1" }),
  aTask({ id: "queued2" }),
  failed("failed1", now - 1_000),
  failed("failed2", now - 3 * 86_400_000),
];

function listTasks({ states = [] }: TaskQuery) {
  const tasks = all.filter(({ state }) => states.length === 0 || states.includes(state));
  return Promise.resolve({ tasks, more: false });
}

Deno.test("status is one screen: coordinators, workers, what runs and what failed lately", async () => {
  await using coordinator = await fakeCoordinator({
    listTasks,
    listWorkers: () => Promise.resolve([aWorker("gpu1", { running: 1 })]),
  });
  const { home, port } = coordinator;
  const good = await agent.run(["status"], { home });
  assert.equal(good.code, 0, good.stderr);
  const parts = [
    `Coordinator 127.0.0.1:${port} answers`,
    "gpu1  healthy",
    "2 tasks queued, 1 task running",
    "running1",
    "1 task failed in the last 24 hours",
    "failed1",
    "agent task logs failed1",
  ];
  for (const part of parts) assert.ok(good.stdout.includes(part), `${part} in ${good.stdout}`);
  assert.ok(!good.stdout.includes("failed2"));

  // Port 1 is nobody's.
  const addresses = ["--coordinators=127.0.0.1:1", `--coordinators=127.0.0.1:${port}`];
  const half = await agent.run(["status", "--json", ...addresses], { home });
  assert.equal(half.code, 3);
  const overview = JSON.parse(half.stdout);
  assert.deepEqual(
    overview.coordinators.map(({ answers }: { answers: boolean }) => answers),
    [false, true],
  );
  assert.deepEqual([overview.queued.count, overview.failed.count], [2, 1]);
  const none = await agent.run(["status", addresses[0]!], { home });
  assert.deepEqual([none.code, none.stderr], [3, ""]);
  assert.match(
    none.stdout,
    /^Coordinator 127.0.0.1:1 does not answer\n {2}\S.*nothing listens there\n$/,
  );
});
