import { anySignal } from "../deno/any_signal.ts";
import {
  Server,
  ServerCredentials,
  type ServerOptions,
  type ServiceDefinition,
  type UntypedServiceImplementation,
} from "@grpc/grpc-js";
import type { TLSSocket } from "node:tls";
import type { Certificate } from "../pki/x509/inspect.ts";
import { PkiError } from "../pki/errors.ts";
import { systemClock } from "../base/clock.ts";
import type { Env } from "../base/env.ts";
import { UsageError } from "../base/errors.ts";
import type { ConnectionCounts, ConnectionLimits } from "../base/connection_limit.ts";
import { aborted, every } from "../base/lifetimes.ts";
import { TimeSlices } from "../base/time_slices.ts";
import { limits } from "../tasks/limits.ts";
import type { TaskServer, WorkerServer } from "../tasks/service.ts";
import { joinHost } from "../base/address.ts";
import type { Credentials, Loaded } from "../tls/credentials.ts";
import * as wire from "./gen/agent/v1/agent.ts";
import { fileDescriptors } from "./gen/descriptors.ts";
import { HealthService } from "./gen/grpc/health/v1/health.ts";
import { serverKeepalive } from "./keepalive.ts";
import { refuseBadText } from "./strict_text.ts";
import { type Refusal, type RefusalCause, RefusalLog, refusalOfChain } from "../tls/refusals.ts";
import { checkCaller } from "../tls/verify.ts";
import type { PeerMode } from "../tls/mode.ts";
import { prepareHttp2 } from "../deno/http2_sessions.ts";
import { type Serving, tolerant } from "./server/calls.ts";
import { CallCounts } from "./server/call_counts.ts";
import { callersOf } from "./server/caller.ts";
import { guarded } from "./server/guard.ts";
import { TlsServerCredentials } from "./server/credentials.ts";
import { fleetHandlers } from "./server/fleet.ts";
import { Health } from "./server/health.ts";
import { accept, callerLimits, type Listener } from "./server/listener.ts";
import { reflectionHandler, reflectionV1, reflectionV1Alpha } from "./server/reflection.ts";
import { stateHandlers } from "./server/state.ts";
import { tasksHandlers } from "./server/tasks.ts";
import { workersHandlers } from "./server/workers.ts";

export interface PeerServerOptions {
  /** An IP address. */
  host: string;
  /** 0: one that is free. */
  port: number;
  mode: PeerMode;
  tasks: TaskServer;
  workers: WorkerServer;
  env: Pick<Env, "clock" | "log">;
  /** For tests; `callerLimits` otherwise. */
  callers?: ConnectionLimits;
}

export interface PeerServer {
  /** `host:port`, with the real port. */
  readonly address: string;
  readonly port: number;
  /** The certificate in use, for the banner and for status; undefined with h2c. */
  certificate(): Certificate | undefined;
  /** Why callers cannot be served as they should be; undefined: all is well. For readiness. */
  trouble(): string | undefined;
  /** For metrics. */
  connections(): Readonly<ConnectionCounts>;
  /** Callers that were turned away before their first call, by cause. For metrics. */
  /** Calls that have ended, by method and status. For metrics. */
  calls(): [method: string, code: string, count: number][];
  refusals(): Partial<Record<RefusalCause, number>>;
  /** Ends what still runs; twice is fine. */
  [Symbol.asyncDispose](): Promise<void>;
}

/**
 * Serves the task and worker services, health and reflection over gRPC. Settles once it listens.
 * When the signal aborts, health turns to NOT_SERVING and streams of answers end; sessions end when
 * the worker service ends their sinks, and everything when the server is disposed.
 *
 * @throws {UserError} where the files of the mode are not usable, or the address is not free.
 */
export async function servePeer(
  options: PeerServerOptions,
  signal: AbortSignal,
): Promise<PeerServer> {
  refuseBadText();
  prepareHttp2();
  const { mode, env } = options;
  const credentials = mode.mode === "h2c" ? undefined : await secured(mode);
  const health = new Health(new Set(fileDescriptors.flatMap(({ services }) => services)));
  const server = new Server(serverOptions);
  const stop = new AbortController();
  const stopping = anySignal(signal, stop.signal);
  const callerOf = callersOf(mode);
  const serving: Serving = {
    ...{ log: env.log, signal: stopping, running: new Set() },
    ...{ callerOf, slices: new TimeSlices(), counts: new CallCounts() },
  };
  addServices(server, options, health, serving);
  const refusals = new RefusalLog(env);
  const listener = await accept(
    server,
    credentials ?? ServerCredentials.createInsecure(),
    {
      host: options.host,
      port: options.port,
      limits: options.callers ?? callerLimits,
      checked: (secure) =>
        mode.mode === "mtls" ? callerFault(secure, credentials!.files.loaded(), env) : undefined,
      refused: (address, refusal) => refusals.refused(address, refusal),
    },
  );

  stopping.addEventListener("abort", () => health.set(false), { once: true });
  if (stopping.aborted) health.set(false);
  const following = credentials === undefined ? Promise.resolve() : Promise.all([
    credentials.files.follow(env, stopping),
    logDateFault(credentials.files, env, stopping),
  ]);
  const trouble = () =>
    signal.aborted ? "it is stopping" : dateFault(credentials?.files, env)?.reason;
  return {
    address: joinHost(options.host, listener.port),
    port: listener.port,
    certificate: () => credentials?.files.loaded().pair?.certificate,
    trouble,
    connections: () => listener.connections(),
    refusals: () => refusals.counts(),
    calls: () => serving.counts.read(),
    async [Symbol.asyncDispose]() {
      stop.abort();
      await Promise.all([shutDown(server, listener, serving.running), following]);
    },
  };
}

const serverOptions: ServerOptions = {
  ...serverKeepalive(Deno.version.deno),
  "grpc.max_receive_message_length": limits.maxMessageBytes,
  "grpc.max_send_message_length": limits.maxMessageBytes,
  // One connection is one worker: its session, and a log or artifact for each running attempt.
  "grpc.max_concurrent_streams": 2 * limits.maxSlots,
};

/** What the runtime does not look at: the dates of a root, and whether each CA may certify. */
function callerFault(
  secure: TLSSocket,
  loaded: Loaded,
  { clock }: Pick<Env, "clock">,
): Refusal | undefined {
  try {
    checkCaller(secure, loaded, clock.now());
    return undefined;
  } catch (error) {
    if (!(error instanceof PkiError)) throw error;
    return refusalOfChain(error);
  }
}

function secured(mode: Exclude<PeerMode, { mode: "h2c" }>): Promise<TlsServerCredentials> {
  if (mode.certFile === undefined || mode.keyFile === undefined) {
    throw new UsageError("A coordinator needs both a certificate and its key to serve TLS", {
      next: "Set both peer.cert_file and peer.key_file, or run agent tls init",
    });
  }
  return TlsServerCredentials.from(mode);
}

function addServices(
  server: Server,
  { tasks, workers }: PeerServerOptions,
  health: Health,
  serving: Serving,
): void {
  const add = (service: ServiceDefinition, handlers: UntypedServiceImplementation) =>
    server.addService(service, guarded(service, handlers, serving));
  add(tolerant(wire.TaskServiceService), tasksHandlers(tasks, serving));
  add(tolerant(wire.FleetServiceService), fleetHandlers(tasks, serving));
  add(tolerant(wire.StateServiceService), stateHandlers(tasks, serving));
  add(tolerant(wire.WorkerServiceService), workersHandlers(workers, serving));
  add(HealthService, health.handlers());
  const serverReflectionInfo = reflectionHandler(serving);
  add(tolerant(reflectionV1), { serverReflectionInfo });
  add(tolerant(reflectionV1Alpha), { serverReflectionInfo });
}

/** Why the certificate cannot serve now, and what to do about it. */
function dateFault(
  files: Credentials | undefined,
  { clock }: Pick<Env, "clock">,
): { reason: string; next: string } | undefined {
  const certificate = files?.loaded().pair?.certificate;
  if (certificate === undefined) return undefined;
  const { subject, notBefore, notAfter } = certificate;
  const now = clock.now();
  if (notAfter.getTime() < now) {
    const reason = `the certificate "${subject}" expired on ${notAfter.toISOString()}`;
    return { reason, next: "agent tls renew" };
  }
  if (notBefore.getTime() <= now) return undefined;
  return {
    reason: `the certificate "${subject}" is valid only from ${notBefore.toISOString()}, and the ` +
      `clock of this host says ${new Date(now).toISOString()}`,
    next: "Set the clock of this host: date -u shows it",
  };
}

/** Such a certificate does not stop the server, so that it can be repaired; logs it until then. */
function logDateFault(
  files: Credentials,
  env: Pick<Env, "clock" | "log">,
  signal: AbortSignal,
): Promise<void> {
  const failed = () => {};
  return every({ periodMs: 60_000, clock: env.clock, signal, failed }, () => {
    const fault = dateFault(files, env);
    if (fault !== undefined) env.log.error("callers refuse this coordinator", fault);
  });
}

/** Enough time for running calls, and short enough for a person who waits. */
const shutDownWithinMs = 2000;

async function shutDown(server: Server, listener: Listener, running: Set<Promise<void>>) {
  listener.close();
  await Promise.race([Promise.all(running), aborted(AbortSignal.timeout(shutDownWithinMs))]);
  await systemClock.sleep(flushMs);
  listener.cut();
  server.forceShutdown();
}

/** Time for the last answers to reach the system, which then sends them. */
const flushMs = 20;
