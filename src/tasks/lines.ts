import type { TaskSpec } from "./task.ts";

/** Where the element of an array that runs a command for each line finds its own. */
export const lineVariable = "AGENT_LINE";

/** What the element with this line runs. */
export function specOfLine(spec: TaskSpec, line: string): TaskSpec {
  return { ...spec, env: { ...spec.env, [lineVariable]: line } };
}
