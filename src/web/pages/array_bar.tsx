import { useSignal } from "@preact/signals";
import { call, type Problem, problemOf } from "../node_api.ts";
import { announce } from "../parts/announcer.tsx";
import { plural } from "../parts/format.ts";
import { Failure } from "../parts/problem.tsx";
import { isFinished, stateText, taskStates } from "../parts/state.tsx";
import { links } from "../route.ts";
import { DeleteTask } from "./delete_task.tsx";
import type { TaskView } from "../views.ts";

/** An array above its elements: how many are in which state, with the actions on all of them. */
export function ArrayBar({ id, tasks }: { id: string; tasks: TaskView[] }) {
  const problem = useSignal<Problem | undefined>(undefined);
  const isDeleting = useSignal(false);
  const byState = Map.groupBy(tasks, ({ state }) => state);
  // A worker has them, and has not started them yet.
  const assigned =
    tasks.filter(({ state, attempts }) =>
      state === "running" && attempts.at(-1)?.started_at === null
    ).length;
  const counts = taskStates.flatMap((state) => {
    const count = byState.get(state)?.length ?? 0;
    const amounts: [number, string][] = state === "running"
      ? [[assigned, "assigned"], [count - assigned, "running"]]
      : [[count, stateText(state).toLowerCase()]];
    return amounts.filter(([amount]) => amount > 0).map((each) => each.join(" "));
  });
  const open = tasks.filter(({ state }) => !isFinished(state)).length;
  const unsuccessful =
    tasks.filter(({ state }) => isFinished(state) && state !== "succeeded").length;
  const change = async (action: "cancel" | "retry") => {
    try {
      problem.value = undefined;
      const path = `/api/tasks/${encodeURIComponent(id)}/${action}`;
      const changed = await call<{ tasks: TaskView[] }>("POST", path);
      announce(`${plural(changed.tasks.length, "task")} changed`);
    } catch (error) {
      problem.value = problemOf(error);
    }
  };
  return (
    <div class="array-bar">
      <p>
        Array <code>{id}</code>
        {counts.length > 0 && `: ${counts.join(", ")}`}
      </p>
      {open > 0 && (
        <button type="button" class="danger" onClick={() => change("cancel")}>
          {`Cancel ${open}`}
        </button>
      )}
      {unsuccessful > 0 && (
        <button type="button" onClick={() => change("retry")}>{`Retry ${unsuccessful}`}</button>
      )}
      {open === 0 && tasks.length > 0 && (
        <button
          type="button"
          onClick={() => isDeleting.value = true}
        >
          {`Delete ${tasks.length}`}
        </button>
      )}
      <a href={links.tasks}>Show all tasks</a>
      {isDeleting.value && (
        <DeleteTask
          id={id}
          title={`Delete ${plural(tasks.length, "task")}?`}
          onClose={() => isDeleting.value = false}
        />
      )}
      {problem.value !== undefined && <Failure problem={problem.value} />}
    </div>
  );
}
