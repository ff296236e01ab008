import { closeSync, readSync } from "node:fs";
import { messageOf } from "../base/errors.ts";
import { becomeUser } from "../base/libc.ts";
import { type FoundArtifact, searchArtifacts } from "./artifact_search.ts";
import {
  type Answer,
  busyMs,
  encodeFrame,
  frame,
  type Job,
  maxFrameBytes,
  type TaskFilesUser,
} from "./task_files_protocol.ts";
import { emptyFolder } from "./tree.ts";

/**
 * A process that works in folders that tasks can write: it removes leftover files and reads artifacts.
 * It runs as the tasks' user, so no trick in such a folder gains more than the task could do itself.
 * Its parent kills it when it hangs, for example on a file system that the task mounted. It reads jobs
 * until its input ends.
 */
export function serveTaskFiles(argument: string): void {
  const { ids } = JSON.parse(argument) as TaskFilesUser;
  if (ids !== undefined) becomeUser(ids.uid, ids.gid, ids.groups);
  for (const line of lines()) {
    const notes: string[] = [];
    try {
      notes.push(...run(JSON.parse(line) as Job));
    } catch (error) {
      if (error instanceof Deno.errors.BrokenPipe) throw error;
      notes.push(messageOf(error));
    }
    answer({ kind: "done", notes });
  }
}

/** @returns problems. */
function run(job: Job): string[] {
  if (job.kind === "collect") return searchArtifacts(job, send, busy);
  const problem = emptyFolder(job.folder, busy);
  try {
    Deno.removeSync(job.folder, { recursive: true });
  } catch {
    // Only the owner of its parent may remove it. The runner does that, and it fails if not empty.
  }
  return problem === undefined ? [] : [problem];
}

/** Sends no more than the announced size: a process may write to the file forever. */
function send({ path, descriptor, size, mode }: FoundArtifact): void {
  try {
    answer({ kind: "file", path, size, mode });
    const buffer = new Uint8Array(Math.min(maxFrameBytes, Math.max(size, 1)));
    let problem: string | undefined;
    try {
      for (let sent = 0; sent < size;) {
        const want = Math.min(buffer.length, size - sent);
        const count = readSync(descriptor, buffer, 0, want, null);
        if (count === 0) break;
        write(encodeFrame(frame.data, buffer.subarray(0, count)));
        sent += count;
      }
    } catch (error) {
      if (error instanceof Deno.errors.BrokenPipe) throw error;
      problem = messageOf(error);
    }
    answer({ kind: "file_end", ...(problem === undefined ? {} : { problem }) });
  } finally {
    closeSync(descriptor);
  }
}

let sentAt = performance.now();

function busy(): void {
  if (performance.now() - sentAt >= busyMs) answer({ kind: "busy" });
}

function answer(content: Answer): void {
  write(encodeFrame(frame.json, new TextEncoder().encode(JSON.stringify(content))));
}

function write(bytes: Uint8Array): void {
  for (let done = 0; done < bytes.length;) done += Deno.stdout.writeSync(bytes.subarray(done));
  sentAt = performance.now();
}

function* lines(): Generator<string> {
  const buffer = new Uint8Array(64 * 1024);
  const decoder = new TextDecoder();
  let rest = "";
  for (let count; (count = Deno.stdin.readSync(buffer)) !== null;) {
    const parts = (rest + decoder.decode(buffer.subarray(0, count), { stream: true })).split("\n");
    rest = parts.pop()!;
    yield* parts;
  }
}
