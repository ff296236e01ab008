import { systemClock } from "../../src/base/clock.ts";
import { silentLog } from "../support/silent_log.ts";
import { type Coordinator, dialCoordinator } from "../../src/peer/client.ts";
import type { TaskSpec } from "../../src/tasks/task.ts";
import { agent, type Running } from "../support/agent.ts";
import { type Home, tempHome } from "../support/home.ts";

/** One coordinator and one worker as processes, and a client in this process. */
export interface Cluster extends AsyncDisposable {
  home: Home;
  coordinator: Running;
  worker: Running;
  client: Coordinator;
  files: { ca: string; cert: string; key: string };
}

export async function startCluster(options: { slots: number; tls: boolean }): Promise<Cluster> {
  await using open = new AsyncDisposableStack();
  const home = open.use(await tempHome());
  const made = await agent.run(["tls", "init"], { home });
  if (made.code !== 0) throw new Error(`tls init: ${made.stderr}`);
  const insecure = `--peer.insecure=${!options.tls}`;
  const coordinator = open.use(
    await agent.start("coordinator", [
      insecure,
      "--coordinator.port=0",
      "--coordinator.health-port=0",
    ], { home }),
  );
  const address = `127.0.0.1:${coordinator.address.split(":").at(-1)}`;
  const worker = open.use(
    await agent.start("worker", [
      insecure,
      `--worker.coordinators=${address}`,
      `--worker.slots=${options.slots}`,
      "--worker.health-port=0",
    ], { home }),
  );
  const files = {
    ca: `${home.tls}/ca-bundle.crt`,
    cert: `${home.tls}/server.crt`,
    key: `${home.tls}/server.key`,
  };
  const client = open.use(
    await dialCoordinator(
      address,
      options.tls
        ? {
          mode: "mtls",
          clientCaFile: files.ca,
          certFile: files.cert,
          keyFile: files.key,
          skipVerify: false,
        }
        : { mode: "h2c" },
      { clock: systemClock, log: silentLog },
    ),
  );
  const all = open.move();
  return {
    home,
    coordinator,
    worker,
    client,
    files,
    [Symbol.asyncDispose]: () => all.disposeAsync(),
  };
}

/** Submits `count` tasks as one array, waits until all have succeeded, and returns the time in ms. */
export async function runAll(client: Coordinator, task: TaskSpec, count: number): Promise<number> {
  const start = performance.now();
  const { id } = await client.tasks.submit(task, { array: { first: 1, last: count } });
  while (true) {
    const left = await client.tasks.listTasks({ states: ["queued", "running"], limit: 1 });
    if (left.tasks.length === 0) break;
    // Longer than a task, much shorter than the run.
    await systemClock.sleep(20);
  }
  const took = performance.now() - start;
  const failed = (await client.tasks.getTask(id)).find(({ state }) => state !== "succeeded");
  if (failed) throw new Error(`Task ${failed.id} is ${failed.state}: ${failed.reason ?? "?"}`);
  return took;
}
