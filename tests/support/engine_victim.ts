import { systemClock } from "../../src/base/clock.ts";
import { silentLog } from "./silent_log.ts";
import { openCoordinatorStorage } from "../../src/store/coordinator.ts";
import { openEngine } from "../../src/coordinator/engine.ts";
import { FakeWorker } from "./engine.ts";
import { spec } from "./spec.ts";

// A coordinator without a wire that works until it is killed. It prints each acknowledged change on
// stdout, one line in one write: "submitted ID", "finished ID FENCE", "state REVISION".

const engine = openEngine({
  ...openCoordinatorStorage(Deno.args[0]!),
  clock: systemClock,
  log: silentLog,
});

const encoder = new TextEncoder();
function say(text: string): void {
  Deno.stdout.writeSync(encoder.encode(`${text}\n`));
}

async function submitting(): Promise<never> {
  for (;;) say(`submitted ${(await engine.submit(spec())).id}`);
}

async function working(): Promise<never> {
  const worker = await FakeWorker.connect(engine, { instance: `instance-${Deno.pid}` });
  for (;;) {
    const [assignment] = await worker.take();
    const { ref } = assignment!;
    worker.session.started(ref, Date.now());
    await worker.session.heartbeat();
    if (!await worker.finish(ref)) say(`finished ${ref.taskId} ${ref.fence}`);
  }
}

async function counting(): Promise<never> {
  for (;;) say(`state ${(await engine.putState("ns", "k", encoder.encode("x"))).revision}`);
}

await Promise.all([submitting(), submitting(), submitting(), working(), counting()]);
