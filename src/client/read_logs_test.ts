import assert from "node:assert/strict";
import type { LogPiece } from "../tasks/service.ts";
import { TaskError } from "../tasks/service.ts";
import type { Task } from "../tasks/task.ts";
import { sampleTask } from "../../tests/support/fake_coordinator.ts";
import { readLogs } from "./read_logs.ts";

const encoder = new TextEncoder();
const signal = new AbortController().signal;

function ended(id: string, bytes: number, state: Task["state"] = "succeeded"): Task {
  const task = sampleTask(id);
  return {
    ...task,
    attempts: task.attempts.map((each) => ({ ...each, state, stdoutBytes: bytes })),
  };
}

/** A service whose logs are the ids; later ones are answered sooner. */
function service() {
  const facts = { open: 0, most: 0, asked: [] as string[] };
  const readLog = async function* ({ taskId }: { taskId: string }): AsyncGenerator<LogPiece> {
    facts.asked.push(taskId);
    facts.most = Math.max(facts.most, ++facts.open);
    for (let turns = 100 - facts.asked.length; turns > 0; turns--) await Promise.resolve();
    facts.open--;
    if (taskId === "bad") throw new TaskError("not_found", "It is gone");
    yield { attempt: 1, stream: "stdout", offset: 0, data: encoder.encode(taskId) };
  };
  return { facts, readLog };
}

async function readAll(tasks: Task[], attempt?: number) {
  const { facts, readLog } = service();
  const read: string[] = [];
  for await (const { task, pieces } of readLogs({ readLog }, tasks, attempt, signal)) {
    let text = "";
    for await (const { data } of pieces) text += new TextDecoder().decode(data);
    read.push(`${task.id}=${text}`);
  }
  return { read, facts };
}

Deno.test("small logs are asked for together, and come in their order", async () => {
  const ids = Array.from({ length: 50 }, (_, at) => `t${at}`);
  const { read, facts } = await readAll(ids.map((id) => ended(id, 6)));
  assert.deepEqual(read, ids.map((id) => `${id}=${id}`));
  assert.equal(facts.most, 16);
  assert.deepEqual(facts.asked, ids);
});

Deno.test("a log that is long or not at its end is read alone", async () => {
  const running = sampleTask("b");
  const tasks = [ended("a", 6), running, ended("c", 1e9), ended("d", 0, "lost"), ended("e", 6)];
  const { read, facts } = await readAll(tasks);
  assert.deepEqual(read, ["a=a", "b=b", "c=c", "d=d", "e=e"]);
  assert.equal(facts.most, 1);
  const none = { ...ended("none", 6), attempts: [] };
  assert.deepEqual((await readAll([none, ended("a", 6)])).read, ["a=a"]);
});

Deno.test("a log that cannot be read is an error at its place", async () => {
  const { readLog } = service();
  const read: string[] = [];
  await assert.rejects(async () => {
    const tasks = [ended("a", 6), ended("bad", 6), ended("c", 6)];
    for await (const { task } of readLogs({ readLog }, tasks, undefined, signal)) {
      read.push(task.id);
    }
  }, /It is gone/);
  assert.deepEqual(read, ["a"]);
});
