/** One stream that has the output and the ends of many tasks. */
import assert from "node:assert/strict";
import { leaseTimes } from "../../src/tasks/limits.ts";
import type { FollowedItem, FollowPosition } from "../../src/tasks/service.ts";
import type { AttemptRef } from "../../src/tasks/task.ts";
import { eventually } from "../support/eventually.ts";
import { EngineHarness, FakeWorker, taskError, turn } from "../support/engine.ts";
import { spec } from "../support/spec.ts";

const bytes = (text: string) => new TextEncoder().encode(text);

/** Follows in the background; asserts that no byte is missing or comes twice, and none after the end. */
class Following {
  readonly text = new Map<string, string>();
  readonly states: string[] = [];
  readonly begun: string[] = [];
  readonly stop = new AbortController();
  readonly ended: Promise<void>;
  readonly #next = new Map<string, number>();

  constructor({ engine }: EngineHarness, ids: string[], positions: FollowPosition[] = []) {
    for (const { taskId, attempt, stdoutOffset } of positions) {
      this.#next.set(`${taskId} ${attempt} stdout`, stdoutOffset);
    }
    this.ended = (async () => {
      for await (const items of engine.followTasks!(ids, positions, this.stop.signal)) {
        assert.ok(items.length > 0);
        for (const item of items) this.#take(item);
      }
    })();
    // Awaited later.
    this.ended.catch(() => {});
  }

  #take(item: FollowedItem): void {
    if ("finished" in item) {
      this.states.push(`${item.finished.id} ${item.finished.state}`);
      return;
    }
    const { taskId } = item;
    assert.ok(!this.states.some((state) => state.startsWith(`${taskId} `)), "after its end");
    if ("begun" in item) {
      this.begun.push(`${taskId} ${item.begun}`);
      return;
    }
    const { attempt, stream, offset, data } = item.piece;
    const key = `${taskId} ${attempt} ${stream}`;
    assert.equal(offset, this.#next.get(key) ?? 0, `${key} has a gap or a repetition`);
    this.#next.set(key, offset + data.length);
    this.text.set(key, (this.text.get(key) ?? "") + new TextDecoder().decode(data));
  }
}

async function array(harness: EngineHarness, count: number, more: Parameters<typeof spec>[0] = {}) {
  const range = { first: 0, last: count - 1 };
  const { id } = await harness.engine.submit(spec(more), { array: range });
  const worker = await FakeWorker.connect(harness.engine, { slots: count });
  const refs = (await worker.take(count)).map(({ ref }) => ref);
  return { id, worker, refs };
}

async function write({ engine }: EngineHarness, ref: AttemptRef, text: string, at = 0) {
  await using upload = await engine.uploadLog(ref);
  await upload.append("stdout", at, bytes(text));
  await upload.end({ stdout: at + text.length, stderr: 0 });
}

Deno.test("the elements of an array are followed in one stream until all have finished", async () => {
  await using harness = new EngineHarness();
  const { id, worker, refs } = await array(harness, 3);
  await write(harness, refs[0]!, "before ");
  const following = new Following(harness, [id]);
  await eventually(5_000, () => following.text.size === 1);
  await write(harness, refs[0]!, "after", 7);
  await write(harness, refs[1]!, "two");
  await worker.finish(refs[0]!, { stdoutBytes: 12 });
  await eventually(5_000, () => following.states.length === 1);
  await worker.finish(refs[1]!, { state: "failed", exitCode: 3, stdoutBytes: 3 });
  await worker.finish(refs[2]!);
  await following.ended;
  assert.deepEqual(Object.fromEntries(following.text), {
    [`${id}.0 1 stdout`]: "before after",
    [`${id}.1 1 stdout`]: "two",
  });
  assert.deepEqual(following.states.sort(), [
    `${id}.0 succeeded`,
    `${id}.1 failed`,
    `${id}.2 succeeded`,
  ]);
  // Later, everything comes from the files.
  const again = new Following(harness, [id]);
  await again.ended;
  assert.deepEqual(again.text, following.text);
});

Deno.test("later attempts follow the earlier ones, also of one that was lost", async () => {
  await using harness = new EngineHarness();
  const { id, worker, refs: [ref] } = await array(harness, 1);
  const following = new Following(harness, [id]);
  await write(harness, ref!, "first");
  worker.session.closed();
  harness.clock.turn(leaseTimes.leaseMs);
  harness.engine.advance();
  await turn();
  const other = await FakeWorker.connect(harness.engine, { workerId: "w2", home: "home-of-w2" });
  const [second] = await other.take();
  await write(harness, second!.ref, "second");
  await other.finish(second!.ref, { stdoutBytes: 6 });
  await following.ended;
  assert.deepEqual(Object.fromEntries(following.text), {
    [`${id}.0 1 stdout`]: "first",
    [`${id}.0 2 stdout`]: "second",
  });
  assert.deepEqual(following.begun, [`${id}.0 2`]);
});

Deno.test("a follower continues where it stood, after a restart of the coordinator too", async () => {
  await using harness = new EngineHarness();
  const { id, refs } = await array(harness, 2);
  await write(harness, refs[0]!, "one two");
  await harness.restart();
  const stands = { taskId: `${id}.0`, attempt: 1, stdoutOffset: 4, stderrOffset: 0 };
  const following = new Following(harness, [`${id}.0`], [stands]);
  // What is on the disk comes before the worker is there again.
  await eventually(5_000, () => following.text.size === 1);
  const back = await FakeWorker.connect(harness.engine, { held: refs });
  await write(harness, refs[0]!, " three", 7);
  await back.finish(refs[0]!, { stdoutBytes: 13 });
  await following.ended;
  assert.deepEqual([...following.text.values()], ["two three"]);
});

Deno.test("more output than is kept for a follower comes from the files, and no element waits for another's", async () => {
  await using harness = new EngineHarness();
  const { id, worker, refs } = await array(harness, 2);
  const following = new Following(harness, [id]);
  const long = "x".repeat(1024 * 1024);
  for (let at = 0; at < 5; at++) await write(harness, refs[0]!, long, at * long.length);
  await write(harness, refs[1]!, "short");
  await worker.finish(refs[1]!, { stdoutBytes: 5 });
  await eventually(5_000, () => following.states.length === 1);
  await worker.finish(refs[0]!, { stdoutBytes: 5 * long.length });
  await following.ended;
  assert.equal(following.text.get(`${id}.0 1 stdout`)!.length, 5 * long.length);
  assert.equal(following.text.get(`${id}.1 1 stdout`), "short");
});

Deno.test("what cannot be followed is refused, and a signal ends it", async () => {
  await using harness = new EngineHarness();
  const { id } = await array(harness, 1);
  for (const ids of [[], Array(10_001).fill(id)]) {
    await assert.rejects(new Following(harness, ids).ended, taskError("invalid"));
  }
  await assert.rejects(new Following(harness, ["nothing"]).ended, taskError("not_found"));
  const following = new Following(harness, [id]);
  await turn();
  following.stop.abort();
  await following.ended;
  assert.deepEqual(following.states, []);
});
