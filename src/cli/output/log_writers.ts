import type { Env } from "../../base/env.ts";
import type { LogPiece } from "../../tasks/service.ts";
import type { Task } from "../../tasks/task.ts";
import { textOrBase64 } from "../../client/views.ts";

/** Takes the pieces of followed logs. */
export interface LogWriter {
  piece(piece: LogPiece, task: Task): Promise<void>;
  ended(task: Task): Promise<void>;
}

type Outputs = Pick<Env, "stdout" | "stderr">;

/** One task: its stdout to ours and its stderr to ours, byte for byte, as they come. */
export function plainWriter(env: Outputs): LogWriter {
  return {
    piece: (piece) => env[piece.stream].write(piece.data),
    ended: () => Promise.resolve(),
  };
}

/** Longer lines of an array's element are written in parts. */
const longestLineBytes = 64 * 1024;

/** Several tasks: no line of one is split by a line of another. */
export function lineWriter(env: Outputs): LogWriter {
  const parts = new Map<string, { stream: LogPiece["stream"]; data: Uint8Array }>();
  let last = Promise.resolve();
  const write = (stream: LogPiece["stream"], data: Uint8Array) => {
    last = last.then(() => env[stream].write(data));
    return last;
  };
  return {
    piece(piece, task) {
      const key = `${task.id} ${piece.stream}`;
      const before = parts.get(key)?.data;
      const data = before === undefined ? piece.data : joined(before, piece.data);
      const end = data.lastIndexOf(newline) + 1;
      const cut = data.length - end > longestLineBytes ? data.length : end;
      if (cut === data.length) parts.delete(key);
      else parts.set(key, { stream: piece.stream, data: data.slice(cut) });
      return cut === 0 ? Promise.resolve() : write(piece.stream, data.subarray(0, cut));
    },
    async ended(task) {
      for (const stream of ["stdout", "stderr"] as const) {
        const key = `${task.id} ${stream}`;
        const rest = parts.get(key);
        parts.delete(key);
        if (rest !== undefined) await write(stream, rest.data);
      }
    },
  };
}

const newline = 10;

/** One JSON object a line on stdout. */
export function jsonWriter(env: Outputs): LogWriter {
  let last = Promise.resolve();
  return {
    piece({ attempt, stream, offset, data }, task) {
      const line = { task_id: task.id, attempt, stream, offset, ...textOrBase64(data, "data") };
      last = last.then(() => env.stdout.write(JSON.stringify(line) + "\n"));
      return last;
    },
    ended: () => Promise.resolve(),
  };
}

function joined(a: Uint8Array, b: Uint8Array): Uint8Array {
  const all = new Uint8Array(a.length + b.length);
  all.set(a);
  all.set(b, a.length);
  return all;
}
