/**
 * The protocol between the runner and the process that works in tasks' folders
 * (task_files_process.ts).
 *
 * The runner writes one line of JSON for each job, and the next one after the job is done. The
 * process answers in frames: a byte for the type, four for the length (big-endian), the content.
 * Type `j` is one `Answer` as JSON; type `d` is a part of the file that the last `file` announced.
 * While it works and has nothing else to send, it sends `busy` each second; a process that hangs in a
 * system call does not. The runner trusts none of its messages: it runs as the tasks' user.
 */
import type { ArtifactQuery } from "./artifact_search.ts";

export type Job =
  /** Removes everything in the folder, and the folder itself if the user may. */
  | { kind: "empty"; folder: string }
  | { kind: "collect" } & ArtifactQuery;

export type Answer =
  | { kind: "busy" }
  | { kind: "file"; path: string; size: number; mode: number }
  /** The last file ended, with a reason if not all of it could be read. */
  | { kind: "file_end"; problem?: string }
  | { kind: "done"; notes: string[] };

export const frame = { json: 0x6a, data: 0x64, headerBytes: 5 } as const;

/** Maximum size of a frame's content: the runner keeps one frame in memory. */
export const maxFrameBytes = 256 * 1024;

/** `busy` is sent this often while nothing else is. */
export const busyMs = 1_000;

/** The user that the process becomes: its only argument, as JSON. */
export interface TaskFilesUser {
  /** Undefined: it keeps its user. */
  ids: { uid: number; gid: number; groups: number[] } | undefined;
}

export function encodeFrame(type: number, content: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(frame.headerBytes + content.length);
  bytes[0] = type;
  new DataView(bytes.buffer).setUint32(1, content.length);
  bytes.set(content, frame.headerBytes);
  return bytes;
}

/**
 * Splits a stream into frames.
 *
 * @throws {TypeError} for a frame that is too long.
 */
export async function* decodeFrames(
  stream: AsyncIterable<Uint8Array>,
): AsyncGenerator<{ type: number; content: Uint8Array }> {
  let pieces: Uint8Array[] = [];
  let length = 0;
  const take = (count: number): Uint8Array => {
    const taken = new Uint8Array(count);
    for (let done = 0; done < count;) {
      const first = pieces[0]!;
      const part = first.subarray(0, count - done);
      taken.set(part, done);
      done += part.length;
      if (part.length === first.length) pieces.shift();
      else pieces[0] = first.subarray(part.length);
    }
    length -= count;
    return taken;
  };
  let header: { type: number; size: number } | undefined;
  for await (const piece of stream) {
    pieces = [...pieces, piece];
    length += piece.length;
    for (;;) {
      if (header === undefined) {
        if (length < frame.headerBytes) break;
        const bytes = take(frame.headerBytes);
        header = { type: bytes[0]!, size: new DataView(bytes.buffer).getUint32(1) };
        if (header.size > maxFrameBytes) throw new TypeError("A frame is too long");
      }
      if (length < header.size) break;
      const { type, size } = header;
      header = undefined;
      yield { type, content: take(size) };
    }
  }
}
