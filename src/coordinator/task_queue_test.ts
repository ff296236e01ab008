import assert from "node:assert/strict";
import { type QueuedTask, TaskQueue } from "./task_queue.ts";
import type { Labels } from "../tasks/task.ts";

function task(seq: number, selector?: Labels, notBefore?: number): QueuedTask {
  const counts = { failures: 0, losses: 0, attempts: 0 };
  return {
    seq,
    id: `t${seq}`,
    selector: selector ?? {},
    atOnce: undefined,
    resources: undefined,
    notBefore,
    ...counts,
    spec: undefined,
  };
}

function seat(workerId: string, credits: number, labels: Labels = {}, slots = 4) {
  return { workerId, credits, labels, slots, held: 0 };
}

function assigned(queue: TaskQueue, seats: ReturnType<typeof seat>[]): string[] {
  const out: string[] = [];
  queue.assign(seats, () => false, (task, seat) => {
    seat.credits--;
    seat.held++;
    out.push(`${task.id}@${seat.workerId}`);
  });
  return out;
}

Deno.test("first submitted, first served, across selectors", () => {
  const queue = new TaskQueue();
  for (const [seq, selector] of [[3, {}], [1, { gpu: "yes" }], [2, {}]] as const) {
    queue.add(task(seq, selector));
  }
  assert.deepEqual(assigned(queue, [seat("a", 9, { gpu: "yes" })]), ["t1@a", "t2@a", "t3@a"]);
  assert.equal(queue.size, 0);
});

Deno.test("a task that fits no worker does not hold up the others", () => {
  const queue = new TaskQueue();
  queue.add(task(1, { gpu: "yes" }));
  queue.add(task(2));
  queue.add(task(3));
  assert.deepEqual(assigned(queue, [seat("a", 1)]), ["t2@a"]);
  assert.deepEqual(assigned(queue, [seat("a", 1), seat("b", 1, { gpu: "yes" })]), [
    "t1@b",
    "t3@a",
  ]);
});

Deno.test("work spreads by size, and stops with the credits", () => {
  const queue = new TaskQueue();
  for (let seq = 1; seq <= 9; seq++) queue.add(task(seq));
  const big = seat("big", 40, {}, 4);
  const small = seat("small", 40, {}, 2);
  big.credits = 4;
  assert.equal(assigned(queue, [big, small]).length, 9);
  assert.deepEqual([big.held, small.held], [4, 5]);
  queue.add(task(10));
  assert.deepEqual(assigned(queue, [big]), []);
  assert.equal(queue.size, 1);
});

Deno.test("a task that is taken out or delayed is not assigned", () => {
  const queue = new TaskQueue();
  queue.add(task(1));
  queue.add(task(2, {}, 100));
  queue.add(task(3, {}, 50));
  queue.remove("t1");
  assert.deepEqual(assigned(queue, [seat("a", 9)]), []);
  assert.equal(queue.release(60), 1);
  assert.deepEqual(assigned(queue, [seat("a", 9)]), ["t3@a"]);
  queue.remove("t2");
  assert.equal(queue.release(1_000), 0);
  assert.equal(queue.size, 0);
});

Deno.test("a task that comes back takes its old place", () => {
  const queue = new TaskQueue();
  for (const seq of [1, 2, 3]) queue.add(task(seq));
  assert.deepEqual(assigned(queue, [seat("a", 2)]), ["t1@a", "t2@a"]);
  queue.add(task(1));
  assert.deepEqual(assigned(queue, [seat("a", 2)]), ["t1@a", "t3@a"]);
});

Deno.test("a task taken out and added again is assigned once", () => {
  const queue = new TaskQueue();
  queue.add(task(1));
  queue.remove("t1");
  queue.add(task(1));
  assert.deepEqual(assigned(queue, [seat("a", 9)]), ["t1@a"]);
});

Deno.test("a task prefers other workers than the one that it failed on, for a while", () => {
  const failed = (seq: number) => ({ ...task(seq), avoid: { workerId: "a", until: 100 } });
  const queue = new TaskQueue();
  queue.add(failed(1));
  queue.add(task(2));
  // The other worker is busy: the task waits for it, and does not hold up the next.
  assert.deepEqual(assigned(queue, [seat("a", 9), seat("b", 0)]), ["t2@a"]);
  assert.deepEqual(assigned(queue, [seat("a", 9), seat("b", 9)]), ["t1@b"]);
  queue.add(failed(3));
  assert.deepEqual(assigned(queue, [seat("a", 9)]), ["t3@a"], "there is no other worker");
  queue.add(failed(4));
  assert.equal(queue.release(99), 0);
  assert.deepEqual(assigned(queue, [seat("a", 9), seat("b", 0)]), []);
  assert.equal(queue.release(100), 1);
  assert.deepEqual(assigned(queue, [seat("a", 9), seat("b", 0)]), ["t4@a"]);
  assert.equal(queue.size, 0);
});
