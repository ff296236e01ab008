import { StateBadge } from "../parts/state.tsx";
import { Duration, Time } from "../parts/time.tsx";
import { TableHead } from "../parts/table_head.tsx";
import type { TaskView } from "../views.ts";

interface AttemptsProps {
  attempts: TaskView["attempts"];
  current: number | undefined;
  onChoose: (attempt: number) => void;
}

/** The attempts of a task that had more than one; choosing one shows its output. */
export function Attempts({ attempts, current, onChoose }: AttemptsProps) {
  if (attempts.length < 2) return null;
  return (
    <section>
      <h2>Attempts</h2>
      <table role="table" class="cards attempts">
        <TableHead
          columns={["Attempt", "State", "Reason", "Worker", "Started", "Took"]}
          actions="Output"
        />
        <tbody role="rowgroup">
          {attempts.toReversed().map((each) => (
            <tr role="row" key={each.attempt} class={each.attempt === current ? "current" : ""}>
              <th scope="row" role="rowheader">
                {`#${each.attempt}`}
                {each.superseded && <span class="tag">superseded</span>}
              </th>
              <td role="cell" data-label="State">
                <StateBadge state={each.state} />
              </td>
              <td role="cell" data-label="Reason">{reasonOf(each)}</td>
              <td role="cell" data-label="Worker">{each.worker_id}</td>
              <td role="cell" data-label="Started">
                <Time at={each.started_at} />
              </td>
              <td role="cell" data-label="Took">
                <Duration from={each.started_at} to={each.finished_at} />
              </td>
              <td role="cell" class="actions">
                <button
                  type="button"
                  aria-label={`Output of attempt ${each.attempt}`}
                  aria-pressed={each.attempt === current}
                  onClick={() =>
                    onChoose(each.attempt)}
                >
                  Output
                </button>
              </td>
            </tr>
          ))}
        </tbody>
      </table>
    </section>
  );
}

function reasonOf({ reason, signal, exit_code }: TaskView["attempts"][number]): string {
  if (reason !== null) return reason;
  if (signal !== null) return `Ended by ${signal}`;
  return exit_code === null ? "–" : `Exit code ${exit_code}`;
}
