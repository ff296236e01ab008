import { joinBytes } from "../../base/join_bytes.ts";
import type { Env } from "../../base/env.ts";
import type { LogPiece } from "../../tasks/service.ts";
import { elementOf } from "../../tasks/ids.ts";
import { textOrBase64 } from "../../client/views.ts";

/** Takes the pieces of followed logs. */
export interface LogWriter {
  piece(piece: LogPiece, taskId: string): Promise<void>;
  ended(taskId: string): Promise<void>;
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

/**
 * Several tasks: no line of one is split by a line of another.
 *
 * @param prefix put before each line, to tell the tasks apart.
 */
export function lineWriter(env: Outputs, prefix: (taskId: string) => string = () => ""): LogWriter {
  const parts = new Map<string, { data: Uint8Array; isContinued: boolean }>();
  const write = joinedWrites(env);
  return {
    piece(piece, taskId) {
      const key = `${taskId} ${piece.stream}`;
      const before = parts.get(key);
      const data = before === undefined ? piece.data : joinBytes([before.data, piece.data]);
      const isContinued = before?.isContinued ?? false;
      const end = data.lastIndexOf(newline) + 1;
      const isLong = data.length - end > longestLineBytes;
      const cut = isLong ? data.length : end;
      const rest = { data: data.slice(cut), isContinued: isLong || isContinued && cut === 0 };
      if (rest.data.length === 0 && !isLong) parts.delete(key);
      else parts.set(key, rest);
      if (cut === 0) return Promise.resolve();
      return write(piece.stream, prefixed(data.subarray(0, cut), prefix(taskId), isContinued));
    },
    async ended(taskId) {
      for (const stream of ["stdout", "stderr"] as const) {
        const key = `${taskId} ${stream}`;
        const rest = parts.get(key);
        parts.delete(key);
        if (rest === undefined || rest.data.length === 0) continue;
        // The next task's line begins on a line of its own.
        const isOpen = prefix(taskId) !== "";
        const data = isOpen ? joinBytes([rest.data, new Uint8Array([newline])]) : rest.data;
        await write(stream, prefixed(data, prefix(taskId), rest.isContinued));
      }
    },
  };
}

/** Writes in the order of the calls; what comes while a write is under way is written together. */
function joinedWrites(env: Outputs) {
  const waiting: { stream: LogPiece["stream"]; data: Uint8Array[] }[] = [];
  let writing: Promise<void> | undefined;
  const writeAll = async () => {
    // What comes in this turn of the event loop is written together, too.
    await Promise.resolve();
    for (let next; (next = waiting.shift()) !== undefined;) {
      await env[next.stream].write(joinBytes(next.data));
    }
  };
  return (stream: LogPiece["stream"], data: Uint8Array): Promise<void> => {
    const last = waiting.at(-1);
    if (last?.stream === stream) last.data.push(data);
    else waiting.push({ stream, data: [data] });
    return writing ??= writeAll().finally(() => writing = undefined);
  };
}

/** `[7] ` before the lines of the element 7. */
export function indexPrefix(taskId: string): string {
  return `[${elementOf(taskId).arrayIndex}] `;
}

/** @param isContinued the first line began earlier. */
function prefixed(data: Uint8Array, prefix: string, isContinued: boolean): Uint8Array {
  if (prefix === "") return data;
  const before = new TextEncoder().encode(prefix);
  const lines: Uint8Array[] = isContinued ? [] : [before];
  let from = 0;
  for (let at = data.indexOf(newline); at >= 0; at = data.indexOf(newline, from)) {
    lines.push(data.subarray(from, at + 1));
    from = at + 1;
    if (from < data.length) lines.push(before);
  }
  return Buffer.concat([...lines, data.subarray(from)]);
}

const newline = 10;

/** One JSON object a line on stdout. */
export function jsonWriter(env: Outputs): LogWriter {
  let last = Promise.resolve();
  return {
    piece({ attempt, stream, offset, data }, taskId) {
      const line = { task_id: taskId, attempt, stream, offset, ...textOrBase64(data, "data") };
      last = last.then(() => env.stdout.write(JSON.stringify(line) + "\n"));
      return last;
    },
    ended: () => Promise.resolve(),
  };
}
