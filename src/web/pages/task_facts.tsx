import type { ComponentChildren } from "preact";
import { formatDuration } from "../../base/durations.ts";
import { formatBytes, plural } from "../parts/format.ts";
import { Duration, Time } from "../parts/time.tsx";
import { links } from "../route.ts";
import type { TaskView } from "../views.ts";

/** The task's specification and its times. */
export function TaskFacts({ task }: { task: TaskView }) {
  const { spec } = task;
  const last = task.attempts.at(-1);
  const env = Object.entries(spec.env);
  return (
    <dl class="facts">
      <Fact name="Submitted">
        <Time at={task.submitted_at} />
      </Fact>
      {task.not_before !== null && task.state === "queued" && (
        <Fact name="Not before">
          <Time at={task.not_before} />
        </Fact>
      )}
      {task.finished_at !== null && (
        <Fact name="Finished">
          <Time at={task.finished_at} />
        </Fact>
      )}
      {last?.started_at && (
        <Fact name="Took">
          <Duration from={last.started_at} to={last.finished_at} />
        </Fact>
      )}
      {last !== undefined && <Fact name="Worker">{last.worker_id}</Fact>}
      {task.array_id !== null && (
        <Fact name="Array">
          <a href={links.tasksWith({ array: task.array_id })}>{task.array_id}</a>
          {` [${task.array_index}]`}
        </Fact>
      )}
      {Object.keys(spec.selector).length > 0 && (
        <Fact name="Selector">
          <code>{pairs(spec.selector)}</code>
        </Fact>
      )}
      {spec.timeout_ms !== null && <Fact name="Timeout">{formatDuration(spec.timeout_ms)}</Fact>}
      {spec.retries > 0 && (
        <Fact name="Retries">
          {`${spec.retries}`}
          {spec.retry_delay_ms > 0 && `, after ${formatDuration(spec.retry_delay_ms)}`}
        </Fact>
      )}
      {Object.keys(spec.resources).length > 0 && (
        <Fact name="Resources">
          <code>{pairs(spec.resources)}</code>
        </Fact>
      )}
      <LossFacts spec={spec} />
      {spec.stdin_bytes > 0 && <Fact name="Standard input">{formatBytes(spec.stdin_bytes)}</Fact>}
      {spec.cwd !== null && (
        <Fact name="Folder">
          <code>{spec.cwd}</code>
        </Fact>
      )}
      {spec.artifacts.length > 0 && (
        <Fact name="Keeps">
          <code>{spec.artifacts.join(" ")}</code>
        </Fact>
      )}
      {env.length > 0 && (
        <Fact name="Environment">
          <details>
            <summary>{plural(env.length, "variable")}</summary>
            <pre>{env.map(([name, value]) => `${name}=${value}`).join("\n")}</pre>
          </details>
        </Fact>
      )}
    </dl>
  );
}

function Fact({ name, children }: { name: string; children: ComponentChildren }) {
  return (
    <div>
      <dt>{name}</dt>
      <dd>{children}</dd>
    </div>
  );
}

function pairs(record: Readonly<Record<string, string | number>>): string {
  return Object.entries(record).map(([key, value]) => `${key}=${value}`).join(" ");
}

function LossFacts({ spec }: Pick<TaskView, "spec">) {
  return (
    <>
      {spec.lost_after_ms !== null && (
        <Fact name="Lost after">
          {`${
            spec.lost_after_ms === 0 ? "never" : formatDuration(spec.lost_after_ms)
          }, if its worker is out of touch`}
        </Fact>
      )}
      {spec.max_lost !== null && (
        <Fact name="When lost">
          {spec.max_lost === 0 ? "not again" : `again, up to ${plural(spec.max_lost, "time")}`}
        </Fact>
      )}
    </>
  );
}
