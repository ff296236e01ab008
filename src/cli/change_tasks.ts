import type { Env } from "../base/env.ts";
import { errorFacts, exitCode } from "../base/errors.ts";
import { printable } from "../base/printable.ts";
import { commonId, findTask } from "../client/find_task.ts";
import { type TaskView, taskView } from "../client/views.ts";
import { TaskError, type TaskService } from "../tasks/service.ts";
import type { Task } from "../tasks/task.ts";
import type { ArgSpec, Request } from "./command.ts";
import { forPerson, withTasks } from "./connect.ts";

/** The argument that names a task. */
export const taskArgument: ArgSpec = {
  name: "ID",
  help: "Id of the task or array, its beginning, or @last for the newest",
  required: true,
  completes: "task",
};

export interface Changed {
  /** The task or array, if only one was named. */
  id?: string;
  tasks: TaskView[];
  failed?: { id: string; code: string; message: string }[];
}

/**
 * Changes each of the tasks that were named. One that fails does not keep the others from being
 * changed; it is reported on stderr, and the exit code is 1.
 */
export function changeTasks(
  request: Request & { env: Env },
  change: (tasks: TaskService, id: string, found: Task[]) => Promise<Task[]>,
): Promise<Changed> {
  const { args, env, json } = request;
  return withTasks(request, async (tasks) => {
    const one = async (name: string) => {
      const found = await findTask(tasks, name);
      const id = commonId(found);
      return { id, tasks: (await change(tasks, id, found)).map(taskView) };
    };
    if (args.length === 1) return await one(args[0]!);
    const changed: Changed & { failed: NonNullable<Changed["failed"]> } = { tasks: [], failed: [] };
    for (const name of args) {
      try {
        changed.tasks.push(...(await one(name)).tasks);
      } catch (error) {
        env.signal.throwIfAborted();
        const { code, message } = errorFacts(error instanceof TaskError ? forPerson(error) : error);
        changed.failed.push({ id: name, code, message });
        if (!json) await env.stderr.write(`agent: ${printable(`${name}: ${message}`)}\n`);
      }
    }
    return changed;
  });
}

export function changedExit({ failed = [] }: Changed): number {
  return failed.length === 0 ? exitCode.done : exitCode.failed;
}
