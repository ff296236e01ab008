/** Reads the log of one attempt: its end or its start first, then what is written from then on. */
import { respond } from "../node_api.ts";
import type { LogPieceView } from "../views.ts";
import { LogText } from "./log_text.ts";

export interface LogRequest {
  taskId: string;
  attempt: number;
  /** Bytes to show. */
  bytes: number;
  from: "start" | "end";
}

/** Reads a stretch of the log as far as it is written. */
export async function readStretch(request: LogRequest, signal: AbortSignal): Promise<LogText> {
  const text = new LogText();
  const query: Record<string, string> = request.from === "end"
    ? { tail_bytes: String(request.bytes) }
    : { stdout_offset: "0", stderr_offset: "0" };
  const enough = new AbortController();
  signal.addEventListener("abort", () => enough.abort());
  let left = request.from === "end" ? Infinity : request.bytes;
  try {
    for await (const piece of pieces(request, query, enough.signal)) {
      text.append(piece.stream, piece.offset, piece.data);
      left -= piece.data.length;
      if (left <= 0) break;
    }
  } finally {
    enough.abort();
  }
  return text;
}

/** Adds to the text what is written after it, until the attempt ends or the signal aborts. */
export async function follow(
  text: LogText,
  request: LogRequest,
  changed: () => void,
  signal: AbortSignal,
): Promise<void> {
  const query = {
    follow: "true",
    stdout_offset: String(text.end.stdout),
    stderr_offset: String(text.end.stderr),
  };
  for await (const piece of pieces(request, query, signal)) {
    text.append(piece.stream, piece.offset, piece.data);
    changed();
  }
}

async function* pieces(
  { taskId, attempt }: LogRequest,
  query: Record<string, string>,
  signal: AbortSignal,
): AsyncGenerator<{ stream: "stdout" | "stderr"; offset: number; data: Uint8Array }> {
  const search = new URLSearchParams({ attempt: String(attempt), ...query });
  const path = `/api/tasks/${encodeURIComponent(taskId)}/logs?${search}`;
  const response = await respond("GET", path, { signal });
  if (response.body === null) return;
  const encoder = new TextEncoder();
  const reader = response.body.getReader();
  const decoder = new TextDecoder();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    const lines = (rest + decoder.decode(value, { stream: !done })).split("\n");
    rest = done ? "" : lines.pop()!;
    for (const line of lines) {
      if (line === "") continue;
      const { stream, offset, data, data_base64 } = JSON.parse(line) as LogPieceView;
      const bytes = data === undefined ? fromBase64(data_base64 ?? "") : encoder.encode(data);
      yield { stream, offset, data: bytes };
    }
    if (done) return;
  }
}

function fromBase64(text: string): Uint8Array {
  return Uint8Array.from(atob(text), (char) => char.charCodeAt(0));
}
