import assert from "node:assert/strict";
import { eventually } from "../support/eventually.ts";
import { aWorker } from "../support/fake_tasks.ts";
import { asking } from "./fake_coordinator.ts";
import { startCommand } from "./start_command.ts";

Deno.test("workers are listed with health, identity and warnings; drained and resumed", async () => {
  const gpu = aWorker("gpu1", {
    health: "late",
    running: 1,
    assigned: 3,
    labels: { gpu: "a100" },
    identity: "CN=gpu1",
    warnings: ["ca.key is readable by tasks; set worker.user"],
  });
  await using coordinator = await asking({
    listWorkers: () => Promise.resolve([{ ...gpu, lastHeartbeatAt: Date.now() - 7_000 }]),
    drainWorker: () => Promise.resolve({ ...gpu, draining: true }),
    resumeWorker: () => Promise.resolve({ ...gpu, running: 0 }),
    forgetWorker: () => Promise.resolve(gpu),
  });
  const list = await coordinator.run("workers list");
  assert.match(
    list.stdout,
    /\ngpu1 +late +\d+(\.\d)?s +1\/2 +3 +0\.1\.0 +127\.0\.0\.1 +CN=gpu1 +gpu=a100\n/,
  );
  assert.match(list.stdout, /\nWarning of gpu1: ca\.key is readable by tasks; set worker\.user\n$/);
  const json = JSON.parse((await coordinator.run("workers list --json")).stdout);
  assert.equal(json.workers[0].identity, "CN=gpu1");
  const drained = await coordinator.run("workers drain gpu1");
  assert.equal(drained.stdout, "gpu1 is draining; it still runs 1 task\n");
  const resumed = await coordinator.run("workers resume gpu1");
  assert.equal(resumed.stdout, "gpu1 takes tasks again; it runs 0 tasks\n");
  const unsure = await coordinator.run("workers forget gpu1");
  assert.equal(unsure.code, 3);
  assert.match(unsure.stderr, /agent workers forget gpu1 --yes/);
  const forgotten = await coordinator.run("workers forget gpu1 --yes");
  assert.equal(forgotten.stdout, "gpu1 is forgotten; 1 task of it counted as lost\n");
});

Deno.test("a worker that can start nothing says why", async () => {
  const ill = aWorker("gpu1", { trouble: "no inode is free in /var/lib/agent" });
  await using coordinator = await asking({ listWorkers: () => Promise.resolve([ill]) });
  const list = await coordinator.run("workers list");
  assert.match(list.stdout, /\nNo tasks for gpu1: no inode is free in \/var\/lib\/agent\n$/);
});

Deno.test("workers are watched: a line for each that changed", async () => {
  let running = 0;
  await using coordinator = await asking({
    listWorkers: () =>
      Promise.resolve([
        aWorker("a", { lastHeartbeatAt: Date.now() }),
        aWorker("b", { running: running++ === 0 ? 0 : 1, connected: false }),
      ]),
  });
  await using watching = startCommand(coordinator.home, "workers", "list", "--watch");
  const text = () => new TextDecoder().decode(watching.stdout());
  const expected = "a healthy 0/2\nb healthy, disconnected 0/2\nb healthy, disconnected 1/2\n";
  await eventually(20_000, () => text() === expected);
  watching.kill("SIGINT");
  assert.equal(await watching.code, 130);
});
