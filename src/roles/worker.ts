import { join } from "node:path";
import type { Env } from "../base/env.ts";
import { measureEventLoopLag } from "../base/event_loop_lag.ts";
import { version } from "../base/version.ts";
import { peerMode } from "../config/peer_mode.ts";
import type { Config } from "../config/schema.ts";
import { dialCoordinator } from "../peer/client.ts";
import { openSpool, readPieces } from "../store/spool/spool.ts";
import { withHost } from "../tasks/selectors.ts";
import type { Report, RunnerReady } from "../tasks/orders.ts";
import type { WorkerStats } from "../worker/worker_stats.ts";
import { createWorker } from "../worker/worker.ts";
import { printBanner, printReady } from "./banner.ts";
import { roleEntry } from "./entry.ts";
import { counter, gauge, lagGauge, type Metric, serveHealth } from "../http/health.ts";

/**
 * `ready` waits for the first session, so that tasks can run once it is printed. It waits no longer than
 * this: a worker without a reachable coordinator is ready too, and keeps dialling.
 */
const firstSessionMs = 3_000;

/** Runs what its coordinators assign, by orders to the runner in the main thread. */
async function serveWorker(config: Config, env: Env, port: MessagePort): Promise<void> {
  const { values } = config;
  const addresses = values["worker.coordinators"];
  const mode = peerMode(config, "worker");
  await using open = new AsyncDisposableStack();
  const lag = open.use(measureEventLoopLag());
  const { instance, home, warnings } = await runnerReady(port, env.signal);
  const coordinators = await Promise.all(addresses.map(async (address) => {
    const { workers } = open.use(await dialCoordinator(address, mode, env));
    return { address, service: workers };
  }));
  const hello = {
    ...{ workerId: values["worker.id"], instance, home, version, warnings },
    labels: withHost(values["worker.labels"], Deno.hostname()),
    slots: values["worker.slots"],
    resources: values["worker.resources"],
    // The coordinator fills these in.
    address: "",
    identity: undefined,
  };
  const isUp = Promise.withResolvers<void>();
  const worker = createWorker({
    hello,
    coordinators,
    order: (orders) => port.postMessage(orders),
    listen: (heard) => port.onmessage = ({ data }) => heard(data as Report[]),
    readFile: readPieces,
    spool: openSpool(join(values["worker.data_dir"], "spool"), env.log),
    clock: env.clock,
    log: env.log,
    connected: (sessions) => {
      if (sessions > 0) isUp.resolve();
    },
  });
  const health = open.use(
    await serveHealth({
      host: values["worker.health_host"],
      port: values["worker.health_port"],
      setting: "worker.health_port",
      trouble: () => troubleOf(worker.stats()),
      metrics: () => [...workerMetrics(worker.stats()), lagGauge(lag.longestSeconds())],
    }),
  );
  printBanner(env, config, {
    role: "worker",
    mode,
    fields: {
      worker: values["worker.id"],
      coordinators: addresses.join(","),
      slots: values["worker.slots"],
      health: health.address,
      user: values["worker.user"],
    },
  });
  const alone = env.clock.sleep(firstSessionMs, env.signal).catch(() => {/* It is stopping. */});
  void Promise.race([isUp.promise, alone]).then(() => {
    if (env.signal.aborted) return;
    printReady(env, config, { role: "worker", address: health.address });
  });
  await worker.serve(env.signal);
}

function troubleOf({ trouble, sessions }: WorkerStats): string | undefined {
  return trouble ?? (sessions > 0 ? undefined : "not connected to any coordinator");
}

/** Waits for the runner, which first ends processes that an earlier start left behind. */
function runnerReady(port: MessagePort, signal: AbortSignal): Promise<RunnerReady> {
  return new Promise((resolve, reject) => {
    port.onmessage = ({ data }) => resolve(data as RunnerReady);
    if (signal.aborted) return reject(signal.reason);
    signal.addEventListener("abort", () => reject(signal.reason), { once: true });
  });
}

function workerMetrics(stats: WorkerStats): Metric[] {
  return [
    gauge("worker_ready", "1 while it can take tasks.", troubleOf(stats) === undefined ? 1 : 0),
    gauge("worker_slots", "Tasks that may run at once.", stats.slots),
    gauge("worker_running", "Tasks that run.", stats.running),
    gauge("worker_waiting", "Tasks that wait here for a slot.", stats.waiting),
    gauge("worker_undelivered_results", "Results that no coordinator has yet.", stats.undelivered),
    gauge("worker_coordinators", "Coordinators that are configured.", stats.coordinators),
    gauge("worker_sessions", "Coordinators that are connected.", stats.sessions),
    counter("worker_finished_attempts", "Attempts that ended, by how they did.", {
      label: "state",
      values: stats.finished,
    }),
    counter("worker_output_bytes", "Bytes that tasks wrote.", stats.outputBytes),
  ];
}

roleEntry(serveWorker);
