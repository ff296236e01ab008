import type { StartOrder } from "../tasks/orders.ts";
import type { GrantedResources } from "../tasks/resources.ts";
import { attemptVariable } from "./leftover_processes.ts";
import { defaultPath } from "./program.ts";
import type { TaskUser } from "./user.ts";

/** Variables of the worker that tasks get as well; none is a secret. */
const inherited = ["LANG", "LC_ALL", "LC_CTYPE", "TZ"] as const;

/**
 * If the worker has no locale, text is UTF-8 and everything else like in C. LANG would set all
 * categories, which each program then loads one by one (measured: a tenth of a start).
 */
const utf8 = { LC_CTYPE: "C.UTF-8" };

export interface TaskEnvironment {
  user: TaskUser;
  mark: string;
  own: (name: string) => string | undefined;
}

/**
 * A task's environment: a few standard variables, then those of the submitter, then those by which
 * the worker finds the task's processes, which cannot be overridden.
 */
export function taskEnvironment(
  order: Pick<StartOrder, "taskId" | "arrayIndex" | "env" | "granted">,
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
    ...(order.granted === undefined ? {} : resourceVariables(order.granted)),
    AGENT_TASK_ID: order.taskId,
    [attemptVariable]: mark,
    ...(order.arrayIndex === undefined ? {} : { AGENT_ARRAY_INDEX: String(order.arrayIndex) }),
  };
}

/** The variables that name the resources granted to a task. */
export function resourceVariables(granted: GrantedResources): Record<string, string> {
  const variables: Record<string, string> = {};
  for (const [name, numbers] of Object.entries(granted)) {
    variables[`AGENT_RESOURCE_${name.toUpperCase()}`] = numbers.join();
    // CUDA then sees these alone, and numbers them from 0 (CUDA C++ programming guide, 6.2).
    if (name === "gpu") variables.CUDA_VISIBLE_DEVICES = numbers.join();
  }
  return variables;
}
