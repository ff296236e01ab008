import { useSignal } from "@preact/signals";
import { useEffect, useMemo } from "preact/hooks";
import { TaskList } from "../model/task_list.ts";
import { loadWorkers, onTaskChanges, workers, workersProblem } from "../model/node_data.ts";
import { unanswered } from "../model/unanswered.ts";
import { call, type Problem, problemOf } from "../node_api.ts";
import { announce } from "../parts/announcer.tsx";
import { Command } from "../parts/copy.tsx";
import { Confirm } from "../parts/dialog.tsx";
import { commandLine, plural } from "../parts/format.ts";
import { Empty, Failure, MissingParts } from "../parts/problem.tsx";
import { Time } from "../parts/time.tsx";
import { TableHead } from "../parts/table_head.tsx";
import { links } from "../route.ts";
import type { TaskView, WorkerView } from "../views.ts";

/** Running tasks shown of one worker; the rest is a number. */
const mostTasks = 4;

export function WorkersPage() {
  const running = useMemo(() => new TaskList(["running"], ""), []);
  useEffect(() => {
    loadWorkers();
    running.reload();
    return onTaskChanges((...changes) => running.apply(...changes), () => running.reload());
  }, []);
  const list = workers.value;
  const problem = workersProblem.value;
  return (
    <>
      <div class="heading">
        <h1 tabIndex={-1}>Workers</h1>
        {list !== undefined && list.length > 0 && <Summary workers={list} />}
      </div>
      <MissingParts of={unanswered.value} />
      {problem !== undefined && <Failure problem={problem} retry={loadWorkers} />}
      {list !== undefined && problem === undefined && list.length === 0 && <NoWorkers />}
      {list !== undefined && list.length > 0 && (
        <WorkersTable workers={list} tasks={running.tasks.value} />
      )}
    </>
  );
}

function Summary({ workers }: { workers: WorkerView[] }) {
  const slots = workers.reduce((sum, worker) => sum + worker.slots, 0);
  const used = workers.reduce((sum, { running, slots }) => sum + Math.min(running, slots), 0);
  return (
    <p class="lead">
      {`${used.toLocaleString()} of ${plural(slots, "slot")} used on ${
        plural(workers.length, "worker")
      }`}
    </p>
  );
}

function NoWorkers() {
  return (
    <Empty title="No worker is connected">
      <p>Start one on a host that should run tasks:</p>
      <Command line="agent worker --worker.coordinators HOST:50055" />
    </Empty>
  );
}

function WorkersTable({ workers, tasks }: { workers: WorkerView[]; tasks: TaskView[] }) {
  const byWorker = Map.groupBy(tasks, (task) => task.attempts.at(-1)?.worker_id ?? "");
  const toForget = useSignal<WorkerView | undefined>(undefined);
  return (
    <div class="scroller">
      <table role="table" class="cards workers">
        <TableHead
          columns={[
            "Worker",
            "Health",
            "Slots",
            "Running tasks",
            "Labels",
            "Version",
            "Last heartbeat",
          ]}
          actions="Actions"
        />
        <tbody role="rowgroup">
          {workers.map((worker) => (
            <WorkerRow
              key={worker.id}
              worker={worker}
              tasks={byWorker.get(worker.id) ?? []}
              onForget={() => toForget.value = worker}
            />
          ))}
        </tbody>
      </table>
      {toForget.value !== undefined && (
        <Forget
          worker={toForget.value}
          onClose={() => toForget.value = undefined}
        />
      )}
    </div>
  );
}

interface RowProps {
  worker: WorkerView;
  tasks: TaskView[];
  onForget: () => void;
}

function WorkerRow({ worker, tasks, onForget }: RowProps) {
  const labels = Object.entries(worker.labels);
  return (
    <tr role="row">
      <th scope="row" role="rowheader">
        <span class="name" title={worker.address}>{worker.id}</span>
        {worker.draining && <span class="tag">draining</span>}
        {(worker.warnings.length > 0 || worker.trouble !== null) && (
          <ul class="notes">
            {worker.trouble !== null && (
              <li class="error">{`Takes no tasks: ${worker.trouble}`}</li>
            )}
            {worker.warnings.map((text) => <li key={text} class="warning">{text}</li>)}
          </ul>
        )}
      </th>
      <td role="cell" data-label="Health">
        <span class={`state ${worker.health}`}>
          <span class="dot" aria-hidden="true" />
          {worker.health}
        </span>
      </td>
      <td role="cell" data-label="Slots">
        <Slots worker={worker} />
      </td>
      <td role="cell" data-label="Running tasks" class="wide">
        <RunningTasks worker={worker} tasks={tasks} />
      </td>
      <td role="cell" data-label="Labels" class="wide">
        {labels.length === 0 ? <span class="quiet">none</span> : (
          <ul class="chips">
            {labels.map(([key, value]) => (
              <li key={key} title={`${key}=${value}`}>{`${key}=${value}`}</li>
            ))}
          </ul>
        )}
      </td>
      <td role="cell" data-label="Version">{worker.version}</td>
      <td role="cell" data-label="Last heartbeat">
        <Time at={worker.last_heartbeat_at} empty="never" />
      </td>
      <td role="cell" class="actions">
        <DrainButton worker={worker} />
        {!worker.connected && (
          <button type="button" aria-label={`Forget ${worker.id}`} onClick={onForget}>
            Forget
          </button>
        )}
      </td>
    </tr>
  );
}

/** A worker is given a few tasks more than it has slots, so that the next one starts at once. */
function Slots({ worker: { running, assigned, slots } }: { worker: WorkerView }) {
  const used = Math.min(running, slots);
  return (
    <span class="slots">
      <span class="bar" aria-hidden="true">
        <span style={{ width: `${100 * used / slots}%` }} />
      </span>
      {`${used} / ${slots}`}
      {assigned > 0 && (
        <span class="quiet" title={`${plural(assigned, "task")} will start next`}>
          {` +${assigned}`}
          <span class="unseen">assigned</span>
        </span>
      )}
    </span>
  );
}

function RunningTasks({ worker, tasks }: { worker: WorkerView; tasks: TaskView[] }) {
  const held = worker.running + worker.assigned;
  if (held === 0 && tasks.length === 0) return <span class="quiet">none</span>;
  const rest = Math.max(held, tasks.length) - Math.min(tasks.length, mostTasks);
  return (
    <ul class="task-links">
      {tasks.slice(0, mostTasks).map((task) => (
        <li key={task.id}>
          <a href={links.task(task.id)}>
            <code>{commandLine(task.spec.argv)}</code>
          </a>
        </li>
      ))}
      {rest > 0 && (
        <li>
          <a href={links.tasksWith({ state: "running", text: worker.id })}>{`${rest} more`}</a>
        </li>
      )}
    </ul>
  );
}

function DrainButton({ worker }: { worker: WorkerView }) {
  const problem = useSignal<Problem | undefined>(undefined);
  const action = worker.draining ? "resume" : "drain";
  const run = async () => {
    try {
      problem.value = undefined;
      const path = `/api/workers/${encodeURIComponent(worker.id)}/${action}`;
      const changed = await call<WorkerView>("POST", path);
      workers.value = workers.value?.map((each) => each.id === changed.id ? changed : each);
      announce(changed.draining ? `${worker.id} takes no new tasks` : `${worker.id} takes tasks`);
    } catch (error) {
      problem.value = problemOf(error);
    }
  };
  const title = worker.draining
    ? "Give it tasks again"
    : "Give it no new tasks; running tasks continue to their end";
  return (
    <>
      <button type="button" title={title} aria-label={`${action} ${worker.id}`} onClick={run}>
        {worker.draining ? "Resume" : "Drain"}
      </button>
      {problem.value !== undefined && <Failure problem={problem.value} />}
    </>
  );
}

function Forget({ worker, onClose }: { worker: WorkerView; onClose: () => void }) {
  const forget = async () => {
    await call("POST", `/api/workers/${encodeURIComponent(worker.id)}/forget`);
    workers.value = workers.value?.filter(({ id }) => id !== worker.id);
    announce(`${worker.id} is forgotten`);
  };
  return (
    <Confirm
      title={`Forget ${worker.id}?`}
      action={`Forget ${worker.id}`}
      run={forget}
      onClose={onClose}
    >
      <p>
        Do this only if its host is gone for good: its running tasks count as lost at once, and may
        start again on another worker.
      </p>
    </Confirm>
  );
}
