import { validateRelativePath } from "../tasks/validation.ts";
import { noSuchTask } from "./call_context.ts";
import type { ArtifactFiles, ArtifactWriter } from "./file_stores.ts";
import { isTaskId } from "../tasks/ids.ts";
import type { Lease, LeaseTable } from "./lease_table.ts";
import { limits } from "../tasks/limits.ts";
import type { DiskSpace } from "./disk_space.ts";
import type { TimeSlices } from "../base/time_slices.ts";
import { type LeaseFor, storageError, UploadQueue } from "./upload_queue.ts";
import { createHash } from "node:crypto";
import { type ArtifactUpload, type RefusedFile, TaskError } from "../tasks/service.ts";
import type { Artifact, AttemptRef, SmallFile } from "../tasks/task.ts";
import type { StoredArtifact } from "./store.ts";

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
    checkFile(file);
    const { taskId, attempt } = ref;
    this.#checkCount(ref, [file.path]);
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

  /** Stores small files in one commit. @returns those that cannot be stored, and why. */
  async store(ref: AttemptRef, files: SmallFile[], from: string): Promise<RefusedFile[]> {
    const lease = this.#leaseFor(ref, from);
    const bytes = files.reduce((sum, { data }) => sum + data.length, 0);
    checkMany(files.length, bytes);
    const refused: RefusedFile[] = [];
    const artifacts: StoredArtifact[] = [];
    for (const { path, mode, sha256, data } of files) {
      try {
        checkFile({ path, mode, size: data.length });
        checkSmall(path, data.length);
        if (sha256Of(data) !== sha256) {
          throw new TaskError("invalid", `The checksum of ${JSON.stringify(path)} is wrong`);
        }
        artifacts.push({ path, size: data.length, sha256, mode, attempt: ref.attempt, data });
      } catch (error) {
        if (!(error instanceof TaskError)) throw error;
        refused.push({ path, reason: error.message });
      }
    }
    this.#checkCount(ref, artifacts.map(({ path }) => path));
    this.space.takeWhole(bytes);
    const { seq } = lease;
    await this.leaseTable.commits.write({ kind: "artifacts", seq, artifacts });
    return refused;
  }

  /** What is there already may come again: the worker has not heard that it was stored. */
  #checkCount({ taskId, attempt }: AttemptRef, paths: string[]): void {
    const { store } = this.leaseTable;
    const most = limits.maxArtifactsPerAttempt;
    const count = store.artifactCount(taskId, attempt);
    if (count + paths.length <= most) return;
    const isNew = (path: string) => store.artifact(taskId, attempt, path) === undefined;
    const fresh = new Set(paths.filter(isNew)).size;
    if (fresh === 0 || count + fresh <= most) return;
    throw new TaskError("exhausted", `Attempt ${attempt} of task ${taskId} has ${most} artifacts`);
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

  /**
   * By path.
   *
   * @param only the path of the one that is wanted, where it is one.
   */
  async *list(taskId: string, attempt?: number, only?: string): AsyncGenerator<Artifact> {
    this.stopping.throwIfAborted();
    const of = this.#attempt(taskId, attempt);
    if (only !== undefined) {
      const found = this.leaseTable.store.artifact(taskId, of, only);
      if (found !== undefined) yield found;
      return;
    }
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
    const { taskId, path } = query;
    const attempt = this.#attempt(taskId, query.attempt);
    this.#stored(taskId, attempt, path);
    const data = this.leaseTable.store.artifactData(taskId, attempt, path);
    if (data !== undefined) {
      const offset = query.offset ?? 0;
      if (offset < data.length) yield { offset, data: data.subarray(offset) };
      return;
    }
    await using reader = await this.files.readArtifact(taskId, attempt, path);
    if (reader === undefined) throw missing(taskId, attempt, path);
    for (let offset = query.offset ?? 0; !signal.aborted;) {
      const buffer = new Uint8Array(pieceBytes);
      const count = await reader.read(offset, buffer);
      if (count === 0) return;
      yield { offset, data: buffer.subarray(0, count) };
      offset += count;
    }
  }

  /** Small files, whole, in the order of the paths. */
  async get(taskId: string, attempt: number, paths: readonly string[]): Promise<Uint8Array[]> {
    this.stopping.throwIfAborted();
    const of = this.#attempt(taskId, attempt);
    const found: Uint8Array[] = [];
    let bytes = 0;
    for (const path of paths) {
      const { size } = this.#stored(taskId, of, path);
      checkSmall(path, size);
      checkMany(paths.length, bytes += size);
      const stored = this.leaseTable.store.artifactData(taskId, of, path);
      found.push(stored ?? await this.#whole(taskId, of, path, size));
    }
    return found;
  }

  async #whole(taskId: string, attempt: number, path: string, size: number): Promise<Uint8Array> {
    await using reader = await this.files.readArtifact(taskId, attempt, path);
    if (reader === undefined) throw missing(taskId, attempt, path);
    const buffer = new Uint8Array(size);
    let at = 0;
    for (let count = 1; at < size && count > 0; at += count) {
      count = await reader.read(at, buffer.subarray(at));
    }
    return buffer.subarray(0, at);
  }

  #stored(taskId: string, attempt: number, path: string): Artifact {
    const artifact = this.leaseTable.store.artifact(taskId, attempt, path);
    if (artifact === undefined) throw missing(taskId, attempt, path);
    return artifact;
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

function missing(taskId: string, attempt: number, path: string): TaskError {
  const shown = path.slice(0, 200);
  const text = `Attempt ${attempt} of task ${taskId} has no artifact "${shown}"`;
  return new TaskError("not_found", text);
}

function checkFile({ path, size, mode }: { path: string; size: number; mode: number }): void {
  validateRelativePath(path, "artifact path");
  if (!Number.isSafeInteger(size) || size < 0) {
    throw new TaskError("invalid", `The size of "${path}" is ${size}`);
  }
  if (!(mode >= 0 && mode <= 0o777)) {
    throw new TaskError("invalid", `The mode of "${path}" is more than permission bits`);
  }
}

function checkSmall(path: string, size: number): void {
  if (size <= limits.maxSmallFileBytes) return;
  const text = `"${path.slice(0, 200)}" has more than ${limits.maxSmallFileBytes} bytes`;
  throw new TaskError("invalid", text);
}

/** Of small files in one message. */
function checkMany(count: number, bytes: number): void {
  const { maxSmallFiles, maxSmallFilesBytes } = limits;
  if (count <= maxSmallFiles && bytes <= maxSmallFilesBytes) return;
  const most = `${maxSmallFiles} files of together ${maxSmallFilesBytes} bytes`;
  throw new TaskError("invalid", `One message holds at most ${most}`);
}

function sha256Of(data: Uint8Array): string {
  return createHash("sha256").update(data).digest("hex");
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
      const artifacts = [{ path, size, sha256, mode, attempt: ref.attempt }];
      await this.artifacts.leaseTable.commits.write({ kind: "artifacts", seq, artifacts });
    });
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#queue[Symbol.asyncDispose]();
  }
}
