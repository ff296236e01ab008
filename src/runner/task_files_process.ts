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
 * A process that works in folders that tasks can write: it removes what they left, and reads their
 * artifacts. It runs as the tasks' user, so that no trick in such a folder gets more than the task
 * could get itself; and its parent ends it when it is stuck, as on a file system of the task's own.
 * It reads jobs until its input ends.
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

/** @returns what could not be done. */
function run(job: Job): string[] {
  if (job.kind === "collect") return searchArtifacts(job, send, busy);
  const problem = emptyFolder(job.folder, busy);
  try {
    Deno.removeSync(job.folder, { recursive: true });
  } catch {
    // Only its parent's owner may remove it; the runner does, and sees whether it is empty.
  }
  return problem === undefined ? [] : [problem];
}

/** Sends no more than the size that was announced: somebody may write to the file without end. */
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

let saidAt = performance.now();

function busy(): void {
  if (performance.now() - saidAt >= busyMs) answer({ kind: "busy" });
}

function answer(content: Answer): void {
  write(encodeFrame(frame.json, new TextEncoder().encode(JSON.stringify(content))));
}

function write(bytes: Uint8Array): void {
  for (let done = 0; done < bytes.length;) done += Deno.stdout.writeSync(bytes.subarray(done));
  saidAt = performance.now();
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
