import { UserError } from "../base/errors.ts";
import { TaskError, type TaskService } from "../tasks/service.ts";
import type { Task } from "../tasks/task.ts";

/** A shortened id has at least this many characters; fewer would match by accident. */
const shortestPrefix = 4;
/** Number of the newest tasks in which a prefix is searched. */
const searched = 1_000;

/** Stands for the task or array that was submitted last. */
export const lastTask = "@last";

/**
 * The task, or the elements of an array, by id, by a prefix that only one of them has, or by `@last`.
 *
 * @throws {UserError} where a prefix is ambiguous, or there is no task.
 */
export async function findTask(tasks: TaskService, id: string): Promise<Task[]> {
  if (id === lastTask) return await findLast(tasks);
  try {
    return await tasks.getTask(id);
  } catch (error) {
    const unknown = error instanceof TaskError &&
      (error.code === "not_found" || error.code === "invalid");
    if (!unknown || id.length < shortestPrefix) throw error;
    const { tasks: recent } = await tasks.listTasks({ limit: searched });
    // Elements are named ARRAY.INDEX: a prefix without the dot means the array.
    const ids = recent.map((task) => id.includes(".") ? task.id : task.arrayId ?? task.id);
    const found = new Set(ids.filter((each) => each.startsWith(id)));
    if (found.size === 0) throw error;
    if (found.size > 1) {
      throw new UserError(`"${id}" is ambiguous: ${found.size} ids begin with it`, {
        code: "ambiguous",
        next: `Write more characters of it: ${[...found].slice(0, 3).join(", ")}`,
      });
    }
    return await tasks.getTask([...found][0]!);
  }
}

async function findLast(tasks: TaskService): Promise<Task[]> {
  const { tasks: [newest] } = await tasks.listTasks({ limit: 1 });
  if (newest === undefined) throw new UserError("There are no tasks", { code: "not_found" });
  return newest.arrayId === undefined ? [newest] : await tasks.getTask(newest.arrayId);
}

/** The id under which the coordinator knows what `findTask` returned. */
export function commonId(tasks: Task[]): string {
  const [first] = tasks;
  if (first === undefined) throw new TypeError("No task was found, and none was missing");
  return tasks.length > 1 ? first.arrayId ?? first.id : first.id;
}
