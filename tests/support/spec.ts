import type { TaskSpec } from "../../src/tasks/task.ts";

/** The specification of a task, with every field at its default but those given. */
export function spec(more: Partial<TaskSpec> = {}): TaskSpec {
  return {
    argv: ["true"],
    env: {},
    cwd: undefined,
    selector: {},
    timeoutMs: undefined,
    retries: 0,
    retryDelayMs: 0,
    artifacts: [],
    ...more,
  };
}
