import { messageOf, UsageError } from "../base/errors.ts";
import { measureEventLoopLag } from "../base/event_loop_lag.ts";
import type { Env } from "../base/env.ts";
import { whenIdle } from "../base/idle_memory.ts";
import { every } from "../base/lifetimes.ts";
import { joinHost, splitHost } from "../base/address.ts";
import { splitAddress } from "../config/addresses.ts";
import { peerMode } from "../config/peer_mode.ts";
import type { Config } from "../config/schema.ts";
import { type PeerServer, servePeer } from "../peer/server.ts";
import { limits } from "../tasks/limits.ts";
import { openCoordinatorStorage } from "../store/coordinator.ts";
import { type EngineStats, openEngine } from "../coordinator/engine.ts";
import { printBanner, printReady } from "./banner.ts";
import { peerMetrics } from "./peer_metrics.ts";
import { coversName } from "../tls/verify.ts";
import { roleEntry } from "./entry.ts";
import { counter, gauge, histogram, lagGauge, type Metric, serveHealth } from "../http/health.ts";

/** Maximum delay in noticing due retries and expired leases. */
const advanceEveryMs = 100;
/** The same without a task that waits or runs. */
const idleEveryMs = 1_000;

/** A busy host delays timers by less than this; leases tolerate the same error. */
const stoppedFromMs = 3_000;

/** Serves tasks, workers and state until the signal aborts. */
async function serveCoordinator(config: Config, env: Env): Promise<void> {
  const { values } = config;
  const mode = peerMode(config, "coordinator");
  await using open = new AsyncDisposableStack();
  const storage = openCoordinatorStorage(values["coordinator.data_dir"]);
  const engine = open.use(openEngine({
    ...storage,
    clock: env.clock,
    log: env.log,
    stoppedFromMs,
    logLimitBytes: values["coordinator.log_limit"],
    leaseMs: leaseMs(values["coordinator.lost_after"]),
    keepMs: keepMs(values["coordinator.retention"]),
  }));
  open.use(whenIdle(() => storage.store.releaseMemory()));
  const lag = open.use(measureEventLoopLag());
  // Streams end with the engine, after it has told the workers to keep their leases.
  const serving = new AbortController();
  open.defer(() => serving.abort(env.signal.reason));
  const server = open.use(
    await servePeer({
      host: values["coordinator.host"],
      port: values["coordinator.port"],
      mode,
      tasks: engine,
      workers: engine,
      env,
    }, serving.signal),
  );
  const trouble = () =>
    env.signal.aborted ? "it is stopping" : engine.trouble() ?? server.trouble();
  const health = open.use(
    await serveHealth({
      host: values["coordinator.health_host"],
      port: values["coordinator.health_port"],
      setting: "coordinator.health_port",
      trouble,
      metrics: () => [
        ...coordinatorMetrics(engine.stats(), trouble() === undefined),
        ...peerMetrics(server),
        lagGauge(lag.longestSeconds()),
      ],
    }),
  );
  printBanner(env, config, {
    role: "coordinator",
    mode,
    certificateEnds: server.certificate()?.notAfter,
    fields: {
      listen: server.address,
      advertise: advertised(config, server.port),
      health: health.address,
    },
  });
  warnOfName(env, server, advertised(config, server.port));
  printReady(env, config, { role: "coordinator", address: server.address });
  await every({
    periodMs: () => engine.isIdle() ? idleEveryMs : advanceEveryMs,
    coarse: true,
    clock: env.clock,
    signal: env.signal,
    failed: (error) => env.log.error("round failed", { reason: messageOf(error) }),
  }, () => engine.advance());
  env.log.info("stopping");
  await engine[Symbol.asyncDispose]();
}

/** Clients refuse a certificate that does not cover the name that they dial. */
function warnOfName(env: Env, server: PeerServer, advertise: string): void {
  const certificate = server.certificate();
  const { host } = splitHost(advertise);
  if (certificate === undefined || coversName(certificate, host)) return;
  env.log.warn("the certificate does not cover the advertised address", {
    advertise,
    covers: [...certificate.hostnames, ...certificate.ips].join(","),
    next: `Advertise a name that it covers (coordinator.advertise), or issue one for "${host}"`,
  });
}

/** With a shorter one a slow host would lose its tasks; workers refuse longer ones. */
function leaseMs(lostAfterMs: number): number {
  if (lostAfterMs >= limits.minLostAfterMs && lostAfterMs <= limits.maxLostAfterMs) {
    return lostAfterMs;
  }
  throw new UsageError("coordinator.lost_after must be from 10s to 1d");
}

/** With a shorter one, results would be removed before a following client has read them. */
function keepMs(retentionMs: number): number {
  if (retentionMs >= 60_000) return retentionMs;
  throw new UsageError("coordinator.retention must be at least 1m");
}

/** The address that clients should dial: as configured, else the listen address or host name. */
function advertised({ values }: Config, port: number): string {
  const named = values["coordinator.advertise"];
  if (named !== undefined) {
    const { host, port: own } = splitAddress(named, port)!;
    return joinHost(host, own);
  }
  const host = values["coordinator.host"];
  return joinHost(/^(0\.0\.0\.0|[0:]+)$/.test(host) ? Deno.hostname() : host, port);
}

function coordinatorMetrics(stats: EngineStats, ready: boolean): Metric[] {
  const byState = { label: "state", values: stats.tasks };
  const byHealth = { label: "health", values: stats.workers };
  return [
    gauge("ready", "1 while the coordinator can accept tasks.", ready ? 1 : 0),
    gauge("tasks", "Tasks that are stored, by state.", byState),
    gauge("queue_depth", "Tasks that are queued.", stats.queued),
    gauge("running_attempts", "Attempts that workers hold.", stats.running),
    gauge("workers", "Workers that are known, by health.", byHealth),
    gauge("worker_sessions", "Workers that are connected.", stats.sessions),
    counter("worker_connects", "Sessions that workers have opened.", stats.connects),
    counter("commits", "Transactions of the store.", stats.commits),
    counter("commit_failures", "Transactions of the store that failed.", stats.commitFailures),
    counter("commit_changes", "Changes in the store's transactions.", stats.changes),
    counter("commit_seconds", "Time spent in the store's transactions.", stats.commitSeconds),
    gauge(
      "commit_slowest_seconds",
      "The slowest transaction since the start.",
      stats.slowestCommitSeconds,
    ),
    histogram(
      "commit_duration_seconds",
      "Time of one transaction of the store.",
      stats.durations.commit,
    ),
    histogram(
      "task_wait_seconds",
      "Time from when a task could be assigned until it was.",
      stats.durations.wait,
    ),
    histogram(
      "task_start_seconds",
      "Time from the assignment of a task until its process was reported.",
      stats.durations.start,
    ),
    histogram("task_run_seconds", "Time that attempts ran.", stats.durations.run),
    gauge("stored_bytes", "Bytes that are stored.", {
      label: "kind",
      values: stats.storedBytes,
    }),
    counter("log_bytes", "Bytes of logs received.", stats.logBytes),
    counter("superseded_results", "Results of lost leases.", stats.superseded),
    counter("lost_attempts", "Attempts that were lost.", stats.lostAttempts),
    counter("removed_tasks", "Finished tasks that were removed.", stats.removedTasks),
    counter("removed_bytes", "Bytes of their logs and artifacts.", stats.removedBytes),
    counter("lease_expiries", "Attempts whose lease ran out.", stats.leaseExpiries),
  ];
}

roleEntry(serveCoordinator);
