import assert from "node:assert/strict";
import { systemClock } from "../../base/clock.ts";
import type { TaskService } from "../../tasks/service.ts";
import { sampleTask } from "../../../tests/support/fake_coordinator.ts";
import { eventually } from "../../../tests/support/eventually.ts";
import { nodeApi } from "../../../tests/support/node_api.ts";
import { publishEvents } from "./events.ts";

/** Coordinators whose watches are counted; `tell` changes a task for all that watch. */
function watched() {
  const open = new Set<(id: string) => void>();
  const facts = { watches: 0 };
  const tasks = {
    async *watchChanges(signal: AbortSignal) {
      facts.watches++;
      const changes: string[] = [];
      let wake = () => {};
      const hear = (id: string) => {
        changes.push(id);
        wake();
      };
      open.add(hear);
      signal.addEventListener("abort", () => wake(), { once: true });
      try {
        while (!signal.aborted) {
          for (const id of changes.splice(0)) yield { task: sampleTask(id) };
          if (!signal.aborted) await new Promise<void>((resolve) => wake = resolve);
        }
      } finally {
        open.delete(hear);
      }
    },
    listTasks: () => Promise.resolve({ tasks: [], more: false }),
    listWorkers: () => Promise.resolve([]),
  } as unknown as TaskService;
  return { facts, open, tasks, tell: (id: string) => open.forEach((hear) => hear(id)) };
}

/** Reads events until `over` is contained in them. */
async function readUntil(port: number, over: string, init: RequestInit = {}): Promise<string> {
  const answer = await fetch(`http://127.0.0.1:${port}/api/events`, init);
  let text = "";
  for await (const part of answer.body!.pipeThrough(new TextDecoderStream())) {
    text += part;
    if (text.includes(over)) break;
  }
  return text;
}

Deno.test("tasks are watched while someone reads and a while longer, and nobody misses a change", async () => {
  const { facts, open, tasks, tell } = watched();
  let aheadMs = 0;
  const clock = {
    ...systemClock,
    monotonic: () => systemClock.monotonic() + aheadMs,
    sleep: (ms: number, signal?: AbortSignal) => systemClock.sleep(Math.min(ms, 20), signal),
  };
  await using api = await nodeApi(undefined, { noAuth: true, tasks, clock });
  const stop = new AbortController();
  const publishing = publishEvents(api.node, stop.signal);
  // Nobody has read yet.
  await clock.sleep(20);
  assert.equal(facts.watches, 0);

  // Whatever changed before the watch began is not told: the reader is to ask for everything.
  const first = await readUntil(api.port, "event: reset");
  assert.match(first, /event: cluster[^]*event: reset/);
  assert.deepEqual([facts.watches, open.size], [1, 1]);
  await eventually(5_000, () => api.node.events.readers === 0);

  // A reader that comes back soon hears what it has missed.
  tell("t1");
  const lastId = /.*^id: (\S+)/ms.exec(first)![1]!;
  const second = await readUntil(api.port, '"id":"t1"', { headers: { "last-event-id": lastId } });
  assert.doesNotMatch(second, /event: reset/);
  assert.equal(facts.watches, 1);
  await eventually(5_000, () => api.node.events.readers === 0);

  aheadMs = 61_000;
  await eventually(5_000, () => open.size === 0);
  tell("t2");
  const newest = /.*^id: (\S+)/ms.exec(second)![1]!;
  await readUntil(api.port, "event: reset", { headers: { "last-event-id": newest } });
  await eventually(5_000, () => facts.watches === 2);
  stop.abort();
  await publishing;
});
