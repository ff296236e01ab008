import type { Task, TaskSpec } from "./task.ts";

/**
 * For lists that say a spec once: whether the spec of the next task is another than that of the task
 * before it. The elements of an array share one.
 */
export function newSpecs(): (task: Pick<Task, "spec">) => boolean {
  let former: TaskSpec | undefined;
  return ({ spec }) => {
    const isNew = spec !== former;
    former = spec;
    return isNew;
  };
}
