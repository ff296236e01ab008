import type { LogPiece, TaskService } from "../tasks/service.ts";
import { isFinished, type Task } from "../tasks/task.ts";

/** Logs that are asked for at once, and how long each may be: most of their time is the way there and back. */
const ahead = { logs: 16, bytes: 16 * 1024 };

/** The log of one task. */
interface TaskLog {
  task: Task;
  pieces: AsyncIterable<LogPiece> | LogPiece[];
}

/**
 * What several tasks wrote so far, one after the other.
 *
 * @param attempt undefined: the newest of each; a task without any is left out.
 */
export async function* readLogs(
  service: Pick<TaskService, "readLog">,
  tasks: Task[],
  attempt: number | undefined,
  signal: AbortSignal,
): AsyncGenerator<TaskLog> {
  const wanted = tasks.filter(({ attempts }) => attempt !== undefined || attempts.length > 0);
  const read = ({ id }: Task) =>
    service.readLog({ taskId: id, ...(attempt === undefined ? {} : { attempt }) }, signal);
  const small: Promise<LogPiece[]>[] = [];
  for (let at = 0, asked = 0; at < wanted.length; at++) {
    const task = wanted[at]!;
    asked = Math.max(asked, at);
    while (small.length < ahead.logs && asked < wanted.length && isSmall(wanted[asked]!, attempt)) {
      const pieces = Array.fromAsync(read(wanted[asked++]!));
      pieces.catch(() => {/* Thrown where it is this one's turn. */});
      small.push(pieces);
    }
    const pieces = small.shift();
    yield { task, pieces: pieces === undefined ? read(task) : await pieces };
  }
}

/** Whether the whole log is there, and short. The sizes of a lost attempt do not count what it wrote. */
function isSmall({ attempts }: Task, number: number | undefined): boolean {
  const attempt = number === undefined
    ? attempts.at(-1)
    : attempts.find((each) => each.attempt === number);
  return attempt !== undefined && isFinished(attempt.state) && attempt.state !== "lost" &&
    attempt.stdoutBytes + attempt.stderrBytes <= ahead.bytes;
}
