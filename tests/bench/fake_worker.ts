import type { Coordinator } from "../../src/peer/client.ts";
import { TaskError } from "../../src/tasks/service.ts";
import { result } from "../support/engine.ts";

/** Selector that only fake workers match. */
export const fakeOnly = { without: "processes" };

/** A worker that reports success at once, without a process. With 0 credits it stays idle. */
export async function fakeWorker(
  { workers }: Coordinator,
  workerId: string,
  credits: number,
): Promise<Disposable> {
  const session = await workers.connect({
    ...{ workerId, instance: crypto.randomUUID(), home: undefined, version: "0", slots: 1_000 },
    ...{ labels: fakeOnly, held: [], warnings: [], address: "", identity: undefined },
  }, {
    assign(assignments) {
      const now = Date.now();
      for (const { ref } of assignments) {
        session.started(ref, now);
        session.finished(result(ref, { startedAt: now, finishedAt: now }));
      }
      session.credit(assignments.length);
    },
    cancel: () => {},
    finishedAck: () => {},
    drain: () => {},
    hold: () => {},
    end(error: TaskError) {
      if (error.code !== "unavailable") throw error;
    },
  });
  await session.heartbeat();
  if (credits > 0) session.credit(credits);
  const beat = setInterval(() => session.heartbeat().catch(() => {}), session.heartbeatMs);
  return {
    [Symbol.dispose]() {
      clearInterval(beat);
      session.closed();
    },
  };
}
