import type { Env } from "../base/env.ts";
import { UsageError, UserError } from "../base/errors.ts";
import { idleTls, peerMode } from "../config/peer_mode.ts";
import type { Config } from "../config/schema.ts";
import { TaskError, type TaskErrorCode, type TaskService } from "../tasks/service.ts";
import { retryWhileUnavailable } from "../client/follow.ts";
import { printable } from "../base/printable.ts";
import type { Grants } from "../sandbox/grants.ts";
import { clientGrants } from "../sandbox/roles.ts";
import { oneOfSeveral } from "../client/one_of_several.ts";

/** The settings of every command that dials coordinators. */
export const dialSettings = {
  config: ["client", "peer", "server", "log"],
  shortFlags: "client",
} as const;

/** Maximum retry time for a change whose answer got lost: a coordinator restarts within seconds. */
const maxRetryMs = 30_000;

/**
 * What commands that dial may touch: the coordinators, or with `server.url` the node.
 *
 * @param named files and folders of the command line, as absolute paths.
 */
export async function taskGrants(
  request: { config: Config; env: Env },
  named: { read?: string[]; write?: string[] } = {},
): Promise<Grants> {
  if (!usesNode(request.config)) return clientGrants(request.config, named);
  const { nodeClientGrants } = await import("./node_connect.ts");
  const grants = await nodeClientGrants(request);
  return {
    ...grants,
    read: [...grants.read, ...named.read ?? []],
    write: [...grants.write, ...named.write ?? []],
  };
}

/**
 * Whether tasks go through a node's REST API: where `server.url` is set, unless `--coordinators` says
 * otherwise on the command line.
 *
 * @throws {UsageError} where the command line names both.
 */
function usesNode({ origins }: Config): boolean {
  const [node, coordinators] = [origins["server.url"], origins["client.coordinators"]];
  if (node === "flag" && coordinators === "flag") {
    throw new UsageError("--server.url and --coordinators contradict each other", {
      next: "Name the node or the coordinators",
    });
  }
  return node !== "default" && coordinators !== "flag";
}

/** What commands dial, each with a configuration that dials it alone. */
export function dialledAddresses(config: Config): { address: string; config: Config }[] {
  if (usesNode(config)) return [{ address: config.values["server.url"]!, config }];
  return config.values["client.coordinators"].map((address) => {
    const values = { ...config.values, "client.coordinators": [address] };
    return { address, config: { ...config, values } };
  });
}

/**
 * Calls `use` with the configured coordinators, or those of the node, as one service, and closes them
 * afterwards.
 */
export async function withTasks<T>(
  { config, env }: { config: Config; env: Env },
  use: (tasks: TaskService) => Promise<T>,
): Promise<T> {
  await using open = new AsyncDisposableStack();
  try {
    const dialled = usesNode(config)
      ? [await dialNode(config, env, open)]
      : await dialCoordinators(config, env, open);
    const silent = (error: TaskError) =>
      env.log.warn("waiting for the coordinator", { reason: error.message });
    const retry = retryWhileUnavailable({ ...env, silent }, maxRetryMs);
    return await use(oneOfSeveral(dialled, {
      unanswered: (address, { message }) => sayMissing(env, address, message),
      again: async (ask) => {
        const answer = await retry(ask);
        if (answer === undefined) throw env.signal.reason;
        return answer;
      },
    }));
  } catch (error) {
    if (env.signal.aborted && !(error instanceof UserError)) throw env.signal.reason;
    throw error instanceof TaskError ? forPerson(error) : error;
  }
}

function sayMissing({ log }: Env, address: string, reason: string): void {
  log.warn("a coordinator did not answer, so its part is missing", { address, reason });
}

async function dialCoordinators(config: Config, env: Env, open: AsyncDisposableStack) {
  const { dialCoordinator } = await import("../peer/client.ts");
  const mode = peerMode(config, "client");
  const idle = idleTls(config);
  if (idle !== undefined) env.log.warn(idle);
  return await Promise.all(
    config.values["client.coordinators"].map(async (address) =>
      open.use(await dialCoordinator(address, mode, env))
    ),
  );
}

async function dialNode(config: Config, env: Env, open: AsyncDisposableStack) {
  const [{ remoteTasks }, { openNode }] = await Promise.all([
    import("../mesh/remote_tasks.ts"),
    import("./node_connect.ts"),
  ]);
  const node = open.use(await openNode({ config, env }));
  const tasks = remoteTasks(node, (address, reason) => sayMissing(env, address, reason));
  return { address: config.values["server.url"]!, tasks };
}

/** What to do about each code, where the message alone does not say so. */
const nextSteps: Partial<Record<TaskErrorCode, string>> = {
  unavailable: "Is it running (agent coordinator)? --coordinators HOST:PORT names others",
  unauthenticated: "agent tls status, on both hosts: the coordinator requires a client certificate",
  forbidden: "Use a certificate with another role, or with none: agent tls mint --role",
  exhausted: "Wait until there is room, or free space on the coordinator's host",
};

/** @param next what to do, where the command knows better. */
export function forPerson(error: TaskError, next = error.next ?? nextSteps[error.code]): UserError {
  const message = error.message.charAt(0).toUpperCase() + printable(error.message.slice(1));
  return new UserError(message.replace(/\.$/, ""), {
    code: error.code,
    cause: error,
    ...(next === undefined ? {} : { next }),
  });
}
