import { anySignal } from "../base/signals.ts";
import { UserError } from "../base/errors.ts";
import { noSuchTask } from "./client_calls.ts";
import type { FileReader, LogFiles, LogWriter } from "./files.ts";
import { isTaskId } from "./ids.ts";
import type { Lease, Ledger } from "./ledger.ts";
import type { Notices } from "./notices.ts";
import { type LogOffsets, type LogPiece, type LogUpload, TaskError } from "./service.ts";
import { type AttemptRef, isFinished } from "./task.ts";

const streams = ["stdout", "stderr"] as const;
type Stream = typeof streams[number];

/** One read, and one piece: large enough that its cost is that of the bytes. */
const pieceBytes = 256 * 1024;

/** What attempts write: received from workers, read by clients while it arrives. */
export class Logs {
  readonly #uploads = new Map<string, Upload>();
  readonly stats = { bytes: 0 };

  constructor(
    readonly ledger: Ledger,
    readonly files: LogFiles,
    /** Of new bytes and of changed tasks. */
    readonly notices: Notices,
    readonly stopping: AbortSignal,
  ) {}

  async upload(ref: AttemptRef): Promise<LogUpload> {
    const lease = this.ledger.current(ref);
    if (lease === undefined) throw lostLease(ref);
    const key = `${ref.taskId} ${ref.attempt}`;
    // A stream that broke may not have been noticed yet: the newer one is the worker's.
    await this.#uploads.get(key)?.[Symbol.asyncDispose]();
    const writer = await this.files.openLog(ref.taskId, ref.attempt);
    const upload = new Upload(this, lease, writer, () => {
      if (this.#uploads.get(key) === upload) this.#uploads.delete(key);
    });
    this.#uploads.set(key, upload);
    return upload;
  }

  /** Ends what is being uploaded; what is stored stays, and is gone on with later. */
  async close(): Promise<void> {
    await Promise.all([...this.#uploads.values()].map((upload) => upload[Symbol.asyncDispose]()));
  }

  async *read(
    query: {
      taskId: string;
      attempt?: number;
      follow?: boolean;
      stdoutOffset?: number;
      stderrOffset?: number;
    },
    signal: AbortSignal,
  ): AsyncGenerator<LogPiece> {
    this.stopping.throwIfAborted();
    const { taskId, follow = false } = query;
    const progress = () => this.ledger.store.progress(taskId);
    const first = isTaskId(taskId) ? progress() : undefined;
    if (first === undefined) throw noSuchTask(taskId);
    const only = query.attempt || undefined;
    if (only !== undefined && !first.attempts.some(({ attempt }) => attempt === only)) {
      throw new TaskError("not_found", `Task ${taskId} has no attempt ${only}`);
    }
    using subscription = this.notices.subscribe([taskId]);
    using stop = anySignal(signal, this.stopping);
    let attempt = only ?? first.attempts.at(-1)?.attempt ?? 1;
    let at = { stdout: query.stdoutOffset ?? 0, stderr: query.stderrOffset ?? 0 };
    for (;;) {
      this.stopping.throwIfAborted();
      await using reader = new AttemptReader(this.files, taskId, attempt, at);
      let over = false;
      while (!over) {
        subscription.take();
        // Looked at before the bytes: what was written before the end is then read, too.
        const now = progress()!;
        const mine = now.attempts.find((each) => each.attempt === attempt);
        over = !follow || mine !== undefined && isFinished(mine.state) || isFinished(now.state);
        for await (const piece of reader.pieces()) {
          yield piece;
          if (stop.aborted) break;
        }
        if (signal.aborted) return;
        this.stopping.throwIfAborted();
        if (!over) await subscription.wait(stop);
      }
      if (!follow || only !== undefined) return;
      let now;
      for (;;) {
        subscription.take();
        now = progress()!;
        if (isFinished(now.state) || (now.attempts.at(-1)?.attempt ?? 0) > attempt) break;
        await subscription.wait(stop);
        if (signal.aborted) return;
        this.stopping.throwIfAborted();
      }
      const next = now.attempts.find((each) => each.attempt > attempt);
      if (next === undefined) return;
      attempt = next.attempt;
      at = { stdout: 0, stderr: 0 };
    }
  }
}

/** Reads both streams of one attempt, piece by piece in turn, as far as they are there. */
class AttemptReader implements AsyncDisposable {
  readonly #readers: { [S in Stream]?: FileReader } = {};

  constructor(
    readonly files: LogFiles,
    readonly taskId: string,
    readonly attempt: number,
    readonly at: LogOffsets,
  ) {}

  async *pieces(): AsyncGenerator<LogPiece> {
    const more = new Set<Stream>(streams);
    while (more.size > 0) {
      for (const stream of [...more]) {
        const reader = this.#readers[stream] ??= await this.#open(stream);
        const buffer = new Uint8Array(pieceBytes);
        const offset = this.at[stream];
        const count = reader === undefined ? 0 : await reader.read(offset, buffer);
        if (count < pieceBytes) more.delete(stream);
        if (count === 0) continue;
        this.at[stream] += count;
        yield { attempt: this.attempt, stream, offset, data: buffer.subarray(0, count) };
      }
    }
  }

  async #open(stream: Stream): Promise<FileReader> {
    // Undefined stays absent, and is tried again at the next round.
    return await this.files.readLog(this.taskId, this.attempt, stream) as FileReader;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const stream of streams) await this.#readers[stream]?.[Symbol.asyncDispose]();
  }
}

class Upload implements LogUpload {
  readonly #logs: Logs;
  readonly #lease: Lease;
  readonly #writer: LogWriter;
  readonly #close: () => void;
  #closed = false;
  /** Appends in the order in which they came, also when the wire does not wait for each. */
  #last: Promise<void> = Promise.resolve();

  constructor(logs: Logs, lease: Lease, writer: LogWriter, close: () => void) {
    this.#logs = logs;
    this.#lease = lease;
    this.#writer = writer;
    lease.logged = this.offsets;
    this.#close = close;
  }

  get offsets(): LogOffsets {
    return { ...this.#writer.sizes };
  }

  append(stream: Stream, offset: number, data: Uint8Array): Promise<void> {
    return this.#queue(async () => {
      const size = this.#writer.sizes[stream];
      if (offset > size) {
        throw new TaskError(
          "invalid",
          `${stream} goes on at ${offset}, but is stored up to ${size}`,
        );
      }
      const fresh = data.subarray(size - offset);
      if (fresh.length === 0) return;
      try {
        await this.#writer.append(stream, fresh);
      } finally {
        this.#lease.logged = this.offsets;
      }
      this.#logs.stats.bytes += fresh.length;
      this.#logs.notices.tell(this.#lease.ref.taskId);
    });
  }

  end(lengths: LogOffsets): Promise<void> {
    return this.#queue(async () => {
      const { stdout, stderr } = this.#writer.sizes;
      if (stdout !== lengths.stdout || stderr !== lengths.stderr) {
        throw new TaskError(
          "invalid",
          `The logs end at ${lengths.stdout} and ${lengths.stderr}, ` +
            `but are stored up to ${stdout} and ${stderr}`,
        );
      }
      await this.#writer.sync();
    });
  }

  #queue(work: () => Promise<void>): Promise<void> {
    const done = this.#last.then(async () => {
      if (this.#closed) throw new TaskError("conflict", "A newer stream took over this upload");
      if (!this.#lease.live) throw lostLease(this.#lease.ref);
      try {
        await work();
      } catch (error) {
        throw storageError(error);
      }
    });
    this.#last = done.catch(() => {});
    return done;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#close();
    await this.#last;
    await this.#writer[Symbol.asyncDispose]();
  }
}

export function lostLease(ref: AttemptRef): TaskError {
  return new TaskError(
    "conflict",
    `Attempt ${ref.attempt} of task ${ref.taskId.slice(0, 100)} is not running any more`,
  );
}

export function storageError(error: unknown): unknown {
  if (!(error instanceof UserError) || error.code !== "disk_full") return error;
  return new TaskError("exhausted", error.message, undefined, { cause: error });
}
