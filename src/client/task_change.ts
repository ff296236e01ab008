import type { Task } from "../tasks/task.ts";
import { type TaskView, taskView } from "./views.ts";

/** What `task cancel` and `task retry` answer with. */
export function changed(id: string, tasks: Task[]): { id: string; tasks: TaskView[] } {
  return { id, tasks: tasks.map(taskView) };
}
