import type { Env } from "../base/env.ts";
import type { TaskService, WorkerService } from "../tasks/service.ts";
import { openChannel } from "./client/channel.ts";
import { remoteTasks } from "./client/tasks.ts";
import { remoteWorkers } from "./client/workers.ts";
import { type Loaded, readCredentials } from "../tls/credentials.ts";
import type { PeerMode } from "../tls/mode.ts";
import { refuseBadText } from "./strict_text.ts";

/** A coordinator as if it were here. */
export interface Coordinator {
  readonly address: string;
  readonly tasks: TaskService;
  readonly workers: WorkerService;
  /** Ends all calls; twice is fine. */
  [Symbol.asyncDispose](): Promise<void>;
}

/**
 * Prepares to dial a coordinator. The connection is made at the first call, and made again when it
 * has broken; a call that finds none fails with what is wrong and what to do.
 *
 * @param address `host:port`; the host is handed to the system as it is.
 * @throws {UserError} where the files of the mode are not usable.
 */
export async function dialCoordinator(
  address: string,
  mode: PeerMode,
  env: Pick<Env, "clock" | "log">,
): Promise<Coordinator> {
  refuseBadText();
  const credentials = mode.mode === "h2c" ? undefined : await readCredentials(mode);
  if (mode.mode !== "h2c" && mode.skipVerify) {
    env.log.warn("the coordinator's certificate is not verified: anyone can pose as it", {
      address,
      setting: "peer.skip_tls_verify",
    });
  }
  const dialled = openChannel(address, mode, credentials?.loaded ?? (() => nothing), env.clock);
  const stop = new AbortController();
  const following = credentials?.follow(env, stop.signal);
  return {
    address,
    tasks: remoteTasks(dialled),
    workers: remoteWorkers(dialled),
    async [Symbol.asyncDispose]() {
      stop.abort();
      dialled.close();
      await following;
    },
  };
}

const nothing: Loaded = { pair: undefined, ca: undefined };
