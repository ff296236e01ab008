import { type EngineHarness, FakeWorker, turn } from "./engine.ts";
import { spec } from "./spec.ts";

/** One task that runs on one worker. */
export async function running(harness: EngineHarness, more: Parameters<typeof spec>[0] = {}) {
  return await assigned(harness, more, true);
}

export async function assigned(
  harness: EngineHarness,
  more: Parameters<typeof spec>[0] = {},
  started = false,
) {
  const { engine } = harness;
  const { id } = await engine.submit(spec(more));
  const worker = await FakeWorker.connect(engine);
  const [assignment] = await worker.take();
  if (started) worker.session.started(assignment!.ref, harness.clock.now());
  await turn();
  return { id, worker, ref: assignment!.ref };
}

export async function stateOf(harness: EngineHarness, id: string) {
  const [task] = await harness.engine.getTask(id);
  return { state: task!.state, attempts: task!.attempts.map((attempt) => attempt.state) };
}
