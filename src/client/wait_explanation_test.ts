import assert from "node:assert/strict";
import { aTask, aWorker } from "../../tests/support/fake_tasks.ts";
import type { Task, WorkerInfo } from "../tasks/task.ts";
import { explain } from "./wait_explanation.ts";

const now = 1_000_000;
const wants = (selector: Record<string, string>): Partial<Task> => ({
  spec: { ...aTask().spec, selector },
});

Deno.test("a task that waits is explained in one sentence, with what would change it", () => {
  const gpu = { labels: { gpu: "a100" } };
  const cases: [Partial<Task>, WorkerInfo[], RegExp, RegExp?][] = [
    [{}, [], /^No worker has ever connected$/, /^agent worker /],
    [wants({ gpu: "h100" }), [aWorker("a", gpu)], /^No known worker has the label gpu=h100$/],
    [wants({ worker: "b" }), [aWorker("a")], /^No known worker has the label worker=b$/],
    [
      wants({ worker: "a" }),
      [aWorker("a", { connected: false, health: "lost" })],
      /^"a" would match, but is not connected$/,
      /^Start agent worker there$/,
    ],
    [
      wants({ gpu: "a100" }),
      [aWorker("a", { ...gpu, draining: true }), aWorker("b", { ...gpu, draining: true })],
      /^"a", "b" would match, but are drained$/,
      /^agent workers resume a$/,
    ],
    [{}, [aWorker("a", { health: "late" })], /late with the heartbeat$/],
    [{}, [aWorker("a", { trouble: "no space" })], /can start tasks now; "a": no space$/],
    [
      {},
      [aWorker("a", { slots: 2, running: 2 }), aWorker("b", { slots: 4, running: 4 })],
      /^It waits for a free slot: 6 tasks are on the 6 slots of "a", "b"$/,
    ],
    [{ notBefore: now + 90_000 }, [aWorker("a")], /^It waits 1m30s before its next attempt$/],
    [{ state: "failed", reason: "exit code 3" }, [], /^It has ended as failed: exit code 3$/],
  ];
  for (const [task, workers, reason, next = /^/] of cases) {
    const explained = explain(aTask(task), workers, now);
    assert.match(explained.reason, reason);
    assert.match(explained.next ?? "", next);
  }
});
