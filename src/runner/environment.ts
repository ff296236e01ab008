import type { StartOrder } from "../tasks/orders.ts";
import { attemptVariable } from "./leftover_processes.ts";
import { defaultPath } from "./program.ts";
import type { TaskUser } from "./user.ts";

/** Of the worker's own environment, what tasks see; nothing of it is a secret. */
const inherited = ["LANG", "LC_ALL", "LC_CTYPE", "TZ"] as const;

/**
 * Where the worker has no locale, text is UTF-8 and all else as in C. LANG would say so for all
 * categories, which each program then loads one by one (measured: a tenth of what a start takes).
 */
const utf8 = { LC_CTYPE: "C.UTF-8" };

export interface TaskEnvironment {
  user: TaskUser;
  mark: string;
  own: (name: string) => string | undefined;
}

/**
 * A task's environment: a small clean one, then what its submitter wants, then what the worker
 * needs to find its processes again, which nobody overrides.
 */
export function taskEnvironment(
  order: Pick<StartOrder, "taskId" | "arrayIndex" | "env">,
  { user, mark, own }: TaskEnvironment,
): Record<string, string> {
  const base: Record<string, string> = {
    PATH: defaultPath,
    HOME: user.home,
    USER: user.name,
    LOGNAME: user.name,
    SHELL: "/bin/sh",
  };
  for (const name of inherited) {
    const value = own(name);
    if (value !== undefined) base[name] = value;
  }
  const hasLocale = ["LANG", "LC_ALL", "LC_CTYPE"].some((name) => name in base);
  return {
    ...(hasLocale ? {} : utf8),
    ...base,
    ...order.env,
    AGENT_TASK_ID: order.taskId,
    [attemptVariable]: mark,
    ...(order.arrayIndex === undefined ? {} : { AGENT_ARRAY_INDEX: String(order.arrayIndex) }),
  };
}
