import type { Env } from "../base/env.ts";
import { UserError } from "../base/errors.ts";
import { idleTls, peerMode } from "../config/peer_mode.ts";
import type { Config } from "../config/schema.ts";
import { TaskError, type TaskErrorCode, type TaskService } from "../tasks/service.ts";
import { retryWhileUnavailable } from "../client/follow.ts";
import { printable } from "../base/printable.ts";
import { oneOfSeveral } from "../client/one_of_several.ts";

/** The settings of every command that dials coordinators. */
export const dialSettings = {
  config: ["client", "peer", "log"],
  shortFlags: "client",
} as const;

/** Maximum retry time for a change whose answer got lost: a coordinator restarts within seconds. */
const maxRetryMs = 30_000;

/** Calls `use` with the configured coordinators as one service, and closes them afterwards. */
export async function withTasks<T>(
  { config, env }: { config: Config; env: Env },
  use: (tasks: TaskService) => Promise<T>,
): Promise<T> {
  const { dialCoordinator } = await import("../peer/client.ts");
  await using open = new AsyncDisposableStack();
  const mode = peerMode(config, "client");
  const idle = idleTls(config);
  if (idle !== undefined) env.log.warn(idle);
  try {
    const coordinators = await Promise.all(
      config.values["client.coordinators"].map(async (address) =>
        open.use(await dialCoordinator(address, mode, env))
      ),
    );
    const silent = (error: TaskError) =>
      env.log.warn("waiting for the coordinator", { reason: error.message });
    const retry = retryWhileUnavailable({ ...env, silent }, maxRetryMs);
    return await use(oneOfSeveral(coordinators, {
      unanswered: (address, error) =>
        env.log.warn("a coordinator did not answer, so its part is missing", {
          address,
          reason: error.message,
        }),
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
