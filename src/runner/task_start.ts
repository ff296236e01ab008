import { messageOf } from "../base/errors.ts";
import type { StartOrder } from "../tasks/orders.ts";
import { taskEnvironment } from "./environment.ts";
import { isHostFailure } from "./host_failure.ts";
import { launch, type Launcher } from "./launch.ts";
import { folderProblem, resolveProgram } from "./program.ts";
import type { TaskProcess } from "./task_process.ts";
import type { TaskUser } from "./user.ts";

/** What this worker allows tasks to be. */
export interface StartRules {
  user: TaskUser;
  /** Real paths of programs; undefined: all. */
  allowed: ReadonlySet<string> | undefined;
  /** With `allowed`: names of variables that tasks may set. */
  allowedVariables: ReadonlySet<string>;
  /** Variables of the worker's own environment. */
  variable: (name: string) => string | undefined;
  launcher: Launcher;
}

export interface TaskStart {
  order: StartOrder;
  /** The attempt's own folder. */
  own: string;
  /** For AGENT_ATTEMPT. */
  mark: string;
  /** Called directly before the process is started. */
  enter: () => void;
}

/** Why there is no process. */
export class CannotStart extends Error {
  constructor(
    /** `host_failed`: no fault of the task, which another worker may start. */
    readonly endCause: "not_started" | "lost" | "host_failed",
    readonly exitCode: number | undefined,
    readonly reason: string,
  ) {
    super(reason);
  }
}

export function notStarted(reason: string): CannotStart {
  return new CannotStart("not_started", undefined, reason);
}

/**
 * Checks an order against the rules, and starts its process.
 *
 * @throws {CannotStart}
 */
export function startTask(rules: StartRules, start: TaskStart): TaskProcess {
  const { user, allowed, variable, launcher } = rules;
  const { order, own, mark, enter } = start;
  checkVariables(rules, order.env);
  const env = taskEnvironment(order, { user, mark, own: variable });
  const folder = order.cwd ?? own;
  if (order.cwd !== undefined) {
    const problem = folderProblem(order.cwd, user);
    if (problem !== undefined) throw notStarted(problem);
  }
  const search = { program: order.argv[0]!, path: env.PATH!, folder, allowed, user };
  const found = resolveProgram(search);
  if (!("path" in found)) throw new CannotStart("not_started", found.exitCode, found.reason);
  const args = order.argv.slice(1);
  enter();
  try {
    const isOwn = folder === own;
    const { stdin } = order;
    return launch(launcher, { program: found.path, args, env, folder, isOwn, user, stdin });
  } catch (error) {
    const reason = `Cannot start "${found.path}": ${messageOf(error)}`;
    if (isHostFailure(error)) throw new CannotStart("host_failed", undefined, reason);
    throw notStarted(reason);
  }
}

/**
 * Variables by which a submitter could make an allowed program run other code: PATH, BASH_ENV and
 * PYTHONSTARTUP are some of very many, so only those that the administrator names may be set.
 */
function checkVariables({ allowed, allowedVariables }: StartRules, env: StartOrder["env"]): void {
  if (allowed === undefined) return;
  for (const name of Object.keys(env)) {
    if (allowedVariables.has(name)) continue;
    throw notStarted(
      `This worker has worker.allow_commands and refuses the variable "${name}", which is not ` +
        "in worker.allow_env",
    );
  }
}
