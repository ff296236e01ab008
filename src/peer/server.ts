import { Server, ServerCredentials } from "@grpc/grpc-js";
import type { Env } from "../base/env.ts";
import { UserError } from "../base/errors.ts";
import { joinHost } from "./address.ts";
import { limits } from "../tasks/limits.ts";
import type { TaskService, WorkerService } from "../tasks/service.ts";
import { type Loaded, readCredentials } from "./credentials.ts";
import * as wire from "./gen/agent/v1/agent.ts";
import type { PeerMode, TlsMode } from "./mode.ts";
import { type Serving, tolerant } from "./server/calls.ts";
import { fleetHandlers } from "./server/fleet.ts";
import { callerFacts } from "./server/caller.ts";
import { stateHandlers } from "./server/state.ts";
import { tasksHandlers } from "./server/tasks.ts";
import { workersHandlers } from "./server/workers.ts";

export interface PeerServerOptions {
  /** An IP address. */
  host: string;
  /** 0: one that is free. */
  port: number;
  mode: PeerMode;
  tasks: TaskService;
  workers: WorkerService;
  env: Pick<Env, "clock" | "log">;
}

export interface PeerServer {
  /** `host:port`, with the real port. */
  readonly address: string;
  readonly port: number;
  /** Ends what still runs. */
  [Symbol.asyncDispose](): Promise<void>;
}

/**
 * Serves the task and worker services over gRPC until the signal aborts or the server is disposed.
 * Settles once it listens.
 *
 * @throws {UserError} where the files of the mode are not usable, or the address is not free.
 */
export async function servePeer(
  options: PeerServerOptions,
  signal: AbortSignal,
): Promise<PeerServer> {
  const { mode, tasks, workers, env } = options;
  const serving: Serving = { log: env.log, signal };
  const credentials = mode.mode === "h2c"
    ? ServerCredentials.createInsecure()
    : new TlsServerCredentials(mode, await readCredentials(mode));
  const server = new Server(serverOptions);
  server.addService(tolerant(wire.TaskServiceService), tasksHandlers(tasks, serving));
  server.addService(tolerant(wire.FleetServiceService), fleetHandlers(tasks, serving));
  server.addService(tolerant(wire.StateServiceService), stateHandlers(tasks, serving));
  server.addService(
    tolerant(wire.WorkerServiceService),
    workersHandlers(workers, serving, callerFacts(mode)),
  );
  const port = await bind(server, options.host, options.port, credentials);
  return {
    address: joinHost(options.host, port),
    port,
    [Symbol.asyncDispose]: () => shutDown(server),
  };
}

const serverOptions = {
  "grpc.max_receive_message_length": limits.maxMessageBytes,
  "grpc.max_send_message_length": limits.maxMessageBytes,
};

class TlsServerCredentials extends ServerCredentials {
  constructor(mode: TlsMode, loaded: Loaded) {
    const mutual = mode.caFile !== undefined;
    super({
      requestCert: mutual,
      rejectUnauthorized: mutual,
      minVersion: "TLSv1.2",
    }, contextOf(loaded));
  }

  update(loaded: Loaded): void {
    this.updateSecureContextOptions(contextOf(loaded));
  }

  override _equals(other: ServerCredentials): boolean {
    return this === other;
  }
}

function contextOf({ pair, ca }: Loaded) {
  return {
    ...(pair === undefined ? {} : { cert: pair.certPem, key: pair.keyPem }),
    ...(ca === undefined ? {} : { ca: ca.pem }),
  };
}

function bind(
  server: Server,
  host: string,
  port: number,
  credentials: ServerCredentials,
): Promise<number> {
  const address = joinHost(host, port);
  return new Promise((resolve, reject) => {
    server.bindAsync(address, credentials, (error, bound) => {
      if (error === null) return resolve(bound);
      reject(
        new UserError(`Could not listen on "${address}": ${error.message}`, {
          next: "Stop what uses the port, or choose another with --coordinator.port",
          cause: error,
        }),
      );
    });
  });
}

/** Long enough for what is being answered, short enough for a person who waits. */
const shutDownWithinMs = 2000;

function shutDown(server: Server): Promise<void> {
  return new Promise((resolve) => {
    const impatience = setTimeout(() => server.forceShutdown(), shutDownWithinMs);
    server.tryShutdown(() => {
      clearTimeout(impatience);
      resolve();
    });
  });
}
