import { useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { onTaskChanges } from "../model/node_data.ts";
import { call, type Problem, problemOf } from "../node_api.ts";
import { announce } from "../parts/announcer.tsx";
import { CopyButton } from "../parts/copy.tsx";
import { commandLine } from "../parts/format.ts";
import { Icon } from "../parts/icons.tsx";
import { Failure } from "../parts/problem.tsx";
import { isFinished, shortReason, StateBadge, stateText } from "../parts/state.tsx";
import { links } from "../route.ts";
import type { TaskView } from "../views.ts";
import { Artifacts } from "./artifacts.tsx";
import { Attempts } from "./attempts.tsx";
import { DeleteTask } from "./delete_task.tsx";
import { LogView } from "./log_view.tsx";
import { SubmitDialog } from "./submit.tsx";
import { fieldsOf } from "./submit_request.ts";
import { TaskFacts } from "./task_facts.tsx";

export function TaskPage({ id }: { id: string }) {
  const task = useSignal<TaskView | undefined>(undefined);
  const problem = useSignal<Problem | undefined>(undefined);
  const isDeleted = useSignal(false);
  /** Undefined: the newest. */
  const chosen = useSignal<number | undefined>(undefined);
  const show = (next: TaskView) => {
    const before = task.peek();
    if (before !== undefined && before.state !== next.state) {
      announce(`Task ${stateText(next.state).toLowerCase()}`);
    }
    task.value = next;
  };
  const load = async () => {
    const before = task.peek();
    try {
      const { tasks } = await call<{ tasks: TaskView[] }>("GET", pathOf(id));
      // An event overtook the response.
      if (task.peek() !== before) return;
      // The id of an array stands for all of its elements.
      if (tasks.length !== 1 || tasks[0]!.id !== id) {
        return location.replace(links.tasksWith({ array: id }));
      }
      problem.value = undefined;
      show(tasks[0]!);
    } catch (error) {
      problem.value = problemOf(error);
    }
  };
  useEffect(() => {
    load();
    return onTaskChanges((changed, deletedIds) => {
      const mine = changed.find((each) => each.id === id);
      if (mine !== undefined) show(mine);
      if (deletedIds.includes(id)) {
        isDeleted.value = true;
        announce("Task deleted");
      }
    }, load);
  }, []);
  const attempt = chosen.value ?? task.value?.attempts.at(-1)?.attempt;
  return (
    <>
      <nav class="path" aria-label="Breadcrumb">
        <a href={links.tasks}>
          <Icon name="back" />
          Tasks
        </a>
      </nav>
      {problem.value !== undefined && <Failure problem={problem.value} retry={load} />}
      {isDeleted.value && (
        <p class="banner warning">
          This task was deleted, with its output and its files. What you see is no longer there.
        </p>
      )}
      {task.value === undefined ? <h1 tabIndex={-1}>{`Task ${id}`}</h1> : (
        <>
          <TaskHeading task={task.value} isDeleted={isDeleted.value} onChange={show} />
          <TaskFacts task={task.value} />
          <Attempts
            attempts={task.value.attempts}
            current={attempt}
            onChoose={(number) => chosen.value = number}
          />
          {attempt === undefined
            ? <p class="quiet">The output appears here as soon as a worker starts the task.</p>
            : <LogView key={attempt} task={task.value} attempt={attempt} />}
          <Artifacts task={task.value} />
        </>
      )}
    </>
  );
}

interface HeadingProps {
  task: TaskView;
  isDeleted: boolean;
  onChange: (task: TaskView) => void;
}

function TaskHeading({ task, isDeleted, onChange }: HeadingProps) {
  const problem = useSignal<Problem | undefined>(undefined);
  const change = async (action: "cancel" | "retry") => {
    try {
      problem.value = undefined;
      const { tasks } = await call<{ tasks: TaskView[] }>("POST", `${pathOf(task.id)}/${action}`);
      const mine = tasks.find(({ id }) => id === task.id);
      if (mine !== undefined) onChange(mine);
    } catch (error) {
      problem.value = problemOf(error);
    }
  };
  const reason = shortReason(task);
  return (
    <>
      <div class="heading task-heading">
        <h1 tabIndex={-1}>
          <code>{commandLine(task.spec.argv)}</code>
        </h1>
        <TaskActions task={task} isDeleted={isDeleted} change={change} />
      </div>
      <p class="status-line">
        <StateBadge state={task.state} />
        {reason !== "" && <span class="reason">{reason}</span>}
        <span class="id">
          <code>{task.id}</code>
          <CopyButton text={task.id} label="Copy the task's id" />
        </span>
      </p>
      {problem.value !== undefined && <Failure problem={problem.value} />}
    </>
  );
}

interface ActionsProps {
  task: TaskView;
  isDeleted: boolean;
  change: (action: "cancel" | "retry") => void;
}

function TaskActions({ task, isDeleted, change }: ActionsProps) {
  const dialog = useSignal<"edit" | "delete" | undefined>(undefined);
  const close = () => dialog.value = undefined;
  const fields = fieldsOf(task.spec);
  const isOver = isFinished(task.state);
  const isDone = task.state === "succeeded";
  return (
    <>
      {fields !== undefined && (
        <button type="button" onClick={() => dialog.value = "edit"}>Edit and submit</button>
      )}
      {!isOver && (
        <button
          type="button"
          class="danger"
          disabled={task.cancel_requested}
          onClick={() => change("cancel")}
        >
          {task.cancel_requested ? "Cancelling…" : "Cancel"}
        </button>
      )}
      {isOver && !isDeleted && (
        <>
          <button
            type="button"
            aria-label="Delete this task"
            onClick={() => dialog.value = "delete"}
          >
            Delete
          </button>
          <button type="button" class={isDone ? "" : "primary"} onClick={() => change("retry")}>
            {isDone ? "Run again" : "Retry"}
          </button>
        </>
      )}
      {dialog.value === "edit" && <SubmitDialog initial={fields} onClose={close} />}
      {dialog.value === "delete" && (
        <DeleteTask id={task.id} title="Delete this task?" onClose={close} />
      )}
    </>
  );
}

function pathOf(id: string): string {
  return `/api/tasks/${encodeURIComponent(id)}`;
}
