import { useSignal } from "@preact/signals";
import { useEffect, useLayoutEffect, useRef } from "preact/hooks";
import { commandLine } from "../parts/format.ts";
import { shortReason, StateBadge } from "../parts/state.tsx";
import { Duration, Time } from "../parts/time.tsx";
import { useRowWindow } from "../parts/windowed.ts";
import { goTo, links } from "../route.ts";
import type { TaskView } from "../views.ts";

interface TableProps {
  tasks: TaskView[];
  /** No older tasks follow. */
  isWhole: boolean;
  /** Whether they may be loaded now. */
  mayLoad: boolean;
  onNearEnd: () => void;
}

/** Only the rows on the screen are drawn: 10,000 tasks scroll like ten. */
export function TasksTable({ tasks, isWhole, mayLoad, onNearEnd }: TableProps) {
  const body = useRef<HTMLTableSectionElement>(null);
  const rowHeight = useRowHeight(body);
  const { first, last } = useRowWindow(body, tasks.length, rowHeight, "page");
  const isNearEnd = last > tasks.length - 40;
  useEffect(() => {
    if (isNearEnd && !isWhole && mayLoad) onNearEnd();
  }, [isNearEnd, isWhole, mayLoad, tasks.length]);
  return (
    <table role="table" class="rows tasks" aria-rowcount={isWhole ? tasks.length + 1 : -1}>
      <thead role="rowgroup">
        <tr role="row" aria-rowindex={1}>
          <th scope="col" role="columnheader">State</th>
          <th scope="col" role="columnheader">Command</th>
          <th scope="col" role="columnheader">Worker</th>
          <th scope="col" role="columnheader">Submitted</th>
          <th scope="col" role="columnheader">Took</th>
        </tr>
      </thead>
      <tbody role="rowgroup" ref={body}>
        <Gap rows={first} height={rowHeight} />
        {tasks.slice(first, last).map((task, at) => (
          <TaskRow key={task.id} task={task} index={first + at + 2} />
        ))}
        <Gap rows={tasks.length - last} height={rowHeight} />
      </tbody>
    </table>
  );
}

/** Keeps the place of rows that are not drawn. */
function Gap({ rows, height }: { rows: number; height: number }) {
  if (rows <= 0) return null;
  return (
    <tr class="gap" aria-hidden="true">
      <td colSpan={5} style={{ height: `${rows * height}px` }} />
    </tr>
  );
}

function TaskRow({ task, index }: { task: TaskView; index: number }) {
  const attempt = task.attempts.at(-1);
  const reason = shortReason(task);
  const line = commandLine(task.spec.argv);
  // The whole row can be clicked; the link in it is what keyboards and screen readers use.
  const open = (event: MouseEvent) => {
    if ((event.target as Element).closest("a") === null) goTo(links.task(task.id));
  };
  return (
    <tr role="row" class="task-row" aria-rowindex={index} onClick={open}>
      <td role="cell">
        <StateBadge state={task.state} />
      </td>
      <td role="cell" class="what">
        <a href={links.task(task.id)} title={line}>{line}</a>
        {task.array_index !== null && <span class="tag">{`[${task.array_index}]`}</span>}
        {reason !== "" && <span class="reason" title={reason}>{reason}</span>}
      </td>
      <td role="cell" class="worker">{attempt?.worker_id ?? <span class="quiet">–</span>}</td>
      <td role="cell" class="when">
        <Time at={task.submitted_at} />
      </td>
      <td role="cell" class="took">
        <Duration from={attempt?.started_at ?? null} to={attempt?.finished_at ?? null} />
      </td>
    </tr>
  );
}

/** The height of a row, which the style sheet sets: it differs on phones. */
function useRowHeight(body: { current: HTMLTableSectionElement | null }): number {
  const height = useSignal(44);
  const measure = () => {
    const row = body.current?.querySelector(".task-row");
    const found = row?.getBoundingClientRect().height ?? 0;
    if (found > 0 && Math.abs(found - height.peek()) > 0.01) height.value = found;
  };
  // Once, not at each render: measuring forces a second layout.
  useLayoutEffect(measure, []);
  useEffect(() => {
    addEventListener("resize", measure);
    return () => removeEventListener("resize", measure);
  }, []);
  return height.value;
}
