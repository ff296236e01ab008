/** A coordinator that stands still for longer than a lease, as on a host that is suspended. */
import assert from "node:assert/strict";
import { startCluster } from "../support/cluster.ts";
import { eventually } from "../support/eventually.ts";

/** `coordinator.lost_after`: the least that is allowed. */
const leaseMs = 10_000;

Deno.test("what ended while the coordinator was stopped is not lost, and does not run again", async () => {
  await using cluster = await startCluster({
    coordinator: [`--coordinator.lost-after=${leaseMs}ms`],
  });
  const worker = await cluster.startWorker();
  const { folder } = cluster;
  const go = `${folder}/go`;
  const id = await cluster.submit(
    `until test -e ${go}; do sleep 0.05; done; echo ran >> ${folder}/runs`,
  );
  await cluster.started(id);
  cluster.coordinator.kill("SIGSTOP");
  const stoppedAt = performance.now();
  try {
    await Deno.writeTextFile(go, "");
    await eventually(10_000, async () => (await worker.processes()).length === 0);
    // Past the lease, by the clocks of both.
    await new Promise((resolve) =>
      setTimeout(resolve, leaseMs + 1_500 - (performance.now() - stoppedAt))
    );
  } finally {
    cluster.coordinator.kill("SIGCONT");
  }
  await cluster.coordinator.said("leases are prolonged");
  const [task] = await cluster.finished(id);
  assert.deepEqual(task!.attempts.map(({ state }) => state), ["succeeded"]);
  assert.equal(await Deno.readTextFile(`${folder}/runs`), "ran\n");
});
