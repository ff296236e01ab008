import { validateRelativePath } from "../tasks/validation.ts";
import { noSuchTask } from "./call_context.ts";
import type { ArtifactFiles, ArtifactWriter } from "./file_stores.ts";
import { isTaskId } from "../tasks/ids.ts";
import type { Lease, LeaseTable } from "./lease_table.ts";
import { limits } from "../tasks/limits.ts";
import type { DiskSpace } from "./disk_space.ts";
import type { TimeSlices } from "../base/time_slices.ts";
import { type LeaseFor, storageError, UploadQueue } from "./upload_queue.ts";
import { type ArtifactUpload, TaskError } from "../tasks/service.ts";
import type { Artifact, AttemptRef } from "../tasks/task.ts";

/** One read, and one piece of an answer. */
const pieceBytes = 256 * 1024;

/** Artifacts that are read from the store at a time; a path may have 4 KB. */
const pageSize = 100;

export interface ArtifactsOptions {
  leaseTable: LeaseTable;
  leaseFor: LeaseFor;
  files: ArtifactFiles;
  space: DiskSpace;
  slices: TimeSlices;
  stopping: AbortSignal;
}

/** The files that attempts leave behind. */
export class Artifacts {
  /** Files being uploaded: one writer at a time. */
  readonly #uploads = new Map<string, Upload>();

  readonly leaseTable: LeaseTable;
  readonly files: ArtifactFiles;
  readonly space: DiskSpace;
  readonly stopping: AbortSignal;
  readonly #leaseFor: LeaseFor;
  readonly #slices: TimeSlices;

  constructor(options: ArtifactsOptions) {
    this.leaseTable = options.leaseTable;
    this.files = options.files;
    this.space = options.space;
    this.stopping = options.stopping;
    this.#leaseFor = options.leaseFor;
    this.#slices = options.slices;
  }

  async upload(
    ref: AttemptRef,
    file: { path: string; size: number; mode: number },
    from: string,
  ): Promise<ArtifactUpload> {
    const lease = this.#leaseFor(ref, from);
    validateRelativePath(file.path, "artifact path");
    if (!Number.isSafeInteger(file.size) || file.size < 0) {
      throw new TaskError("invalid", `The size of "${file.path}" is ${file.size}`);
    }
    if (!(file.mode >= 0 && file.mode <= 0o777)) {
      throw new TaskError("invalid", `The mode of "${file.path}" is more than permission bits`);
    }
    const { store } = this.leaseTable;
    const { taskId, attempt } = ref;
    // What is there already may come again: the worker has not heard that it was stored.
    const isNew = store.artifact(taskId, attempt, file.path) === undefined;
    if (isNew && store.artifactCount(taskId, attempt) >= limits.maxArtifactsPerAttempt) {
      throw new TaskError(
        "exhausted",
        `Attempt ${attempt} of task ${taskId} has ${limits.maxArtifactsPerAttempt} artifacts`,
      );
    }
    const key = `${taskId} ${attempt} ${file.path}`;
    let writer: ArtifactWriter;
    // Another stream may come while the file is being opened: there must be one writer, not two.
    do {
      await this.#uploads.get(key)?.[Symbol.asyncDispose]();
      writer = await this.#open(ref, file);
      if (this.#uploads.has(key)) await writer[Symbol.asyncDispose]();
    } while (this.#uploads.has(key));
    const upload = new Upload(this, lease, file, writer, () => {
      if (this.#uploads.get(key) === upload) this.#uploads.delete(key);
    });
    this.#uploads.set(key, upload);
    return upload;
  }

  async #open(ref: AttemptRef, file: { path: string; size: number }): Promise<ArtifactWriter> {
    try {
      const writer = await this.files.openArtifact(ref.taskId, ref.attempt, file.path);
      // The file has changed since it was begun.
      if (writer.size > file.size) await writer.discard();
      return writer;
    } catch (error) {
      throw storageError(error);
    }
  }

  /** By path. */
  async *list(taskId: string, attempt?: number): AsyncGenerator<Artifact> {
    this.stopping.throwIfAborted();
    const of = this.#attempt(taskId, attempt);
    for (let path = "";;) {
      const page = this.leaseTable.store.artifacts(taskId, of, path, pageSize);
      yield* page;
      if (page.length < pageSize) return;
      path = page.at(-1)!.path;
      await this.#slices.pace();
      this.stopping.throwIfAborted();
    }
  }

  /** Ends the uploads; later ones continue where they stopped. */
  async close(): Promise<void> {
    await Promise.all([...this.#uploads.values()].map((upload) => upload[Symbol.asyncDispose]()));
  }

  async *read(
    query: { taskId: string; attempt?: number; path: string; offset?: number },
    signal: AbortSignal,
  ): AsyncGenerator<{ offset: number; data: Uint8Array }> {
    this.stopping.throwIfAborted();
    const attempt = this.#attempt(query.taskId, query.attempt);
    const missing = () =>
      new TaskError(
        "not_found",
        `Attempt ${attempt} of task ${query.taskId} has no artifact "${query.path.slice(0, 200)}"`,
      );
    if (this.leaseTable.store.artifact(query.taskId, attempt, query.path) === undefined) {
      throw missing();
    }
    await using reader = await this.files.readArtifact(query.taskId, attempt, query.path);
    if (reader === undefined) throw missing();
    for (let offset = query.offset ?? 0; !signal.aborted;) {
      const buffer = new Uint8Array(pieceBytes);
      const count = await reader.read(offset, buffer);
      if (count === 0) return;
      yield { offset, data: buffer.subarray(0, count) };
      offset += count;
    }
  }

  /** The attempt that was asked for, or the newest. */
  #attempt(taskId: string, attempt?: number): number {
    const progress = isTaskId(taskId) ? this.leaseTable.store.progress(taskId) : undefined;
    if (progress === undefined) throw noSuchTask(taskId);
    if (!attempt) return progress.attempts.at(-1)?.attempt ?? 1;
    if (progress.attempts.some((each) => each.attempt === attempt)) return attempt;
    throw new TaskError("not_found", `Task ${taskId} has no attempt ${attempt}`);
  }
}

class Upload implements ArtifactUpload {
  readonly #queue: UploadQueue;

  constructor(
    readonly artifacts: Artifacts,
    readonly lease: Lease,
    readonly file: { path: string; size: number; mode: number },
    readonly writer: ArtifactWriter,
    close: () => void,
  ) {
    this.#queue = new UploadQueue(lease, writer, close);
  }

  get offset(): number {
    return this.writer.size;
  }

  append(offset: number, data: Uint8Array): Promise<void> {
    return this.#queue.run(async () => {
      const { size } = this.writer;
      const shown = JSON.stringify(this.file.path);
      if (offset > size) {
        throw new TaskError(
          "invalid",
          `${shown} continues at ${offset}, but is stored up to ${size}`,
        );
      }
      if (offset + data.length > this.file.size) {
        throw new TaskError("invalid", `${shown} is longer than its ${this.file.size} bytes`);
      }
      const fresh = data.subarray(size - offset);
      if (fresh.length === 0) return;
      this.artifacts.space.takeWhole(fresh.length);
      await this.writer.append(fresh);
    });
  }

  end(sha256: string): Promise<void> {
    return this.#queue.run(async () => {
      const { path, size, mode } = this.file;
      const shown = JSON.stringify(path);
      if (this.writer.size !== size) {
        throw new TaskError(
          "invalid",
          `${shown} has ${size} bytes, but ${this.writer.size} are stored`,
        );
      }
      if (this.writer.sha256() !== sha256) {
        await this.writer.discard();
        throw new TaskError("invalid", `The checksum of ${shown} is wrong, nothing of it is kept`);
      }
      await this.writer.finish();
      const { seq, ref } = this.lease;
      const artifact = { path, size, sha256, mode, attempt: ref.attempt };
      await this.artifacts.leaseTable.commits.write({ kind: "artifact", seq, artifact });
    });
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#queue[Symbol.asyncDispose]();
  }
}
