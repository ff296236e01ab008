import type { Clock } from "../base/clock.ts";
import { anySignal } from "../deno/any_signal.ts";
import { formatBytes } from "../base/format_bytes.ts";
import { noSuchTask } from "./call_context.ts";
import { type DiskSpace, noRoom } from "./disk_space.ts";
import type { FileReader, LogFiles, LogWriter } from "./file_stores.ts";
import { isTaskId } from "../tasks/ids.ts";
import type { Lease, LeaseTable } from "./lease_table.ts";
import { FreshOutputs } from "./fresh_output.ts";
import { LogTail, type TailReader } from "./log_tail.ts";
import type { ChangeFeed } from "./change_feed.ts";
import type { Progress } from "./store.ts";
import { type LogOffsets, type LogPiece, type LogUpload, TaskError } from "../tasks/service.ts";
import { type AttemptRef, isFinished } from "../tasks/task.ts";
import { type LeaseFor, UploadQueue } from "./upload_queue.ts";

const streams = ["stdout", "stderr"] as const;
type Stream = typeof streams[number];

/**
 * One read, and one piece: at most large enough that its cost is that of the bytes. Most logs are
 * small, so it begins with little.
 */
const readBytes = { first: 16 * 1024, most: 128 * 1024 };

export interface LogsOptions {
  leaseTable: LeaseTable;
  leaseFor: LeaseFor;
  files: LogFiles;
  /** Of new bytes and of changed tasks. */
  changes: ChangeFeed;
  stopping: AbortSignal;
  space: DiskSpace;
  /** Bytes kept of one attempt's output. */
  limitBytes: number;
  clock: Clock;
}

/** What attempts write: received from workers, read by clients while it arrives. */
export class Logs {
  readonly #uploads = new Map<string, Upload>();
  readonly #tails = new Map<string, LogTail>();
  readonly stats = { bytes: 0 };
  /** For the followers of many tasks at once. */
  readonly fresh = new FreshOutputs();

  readonly leaseTable: LeaseTable;
  readonly files: LogFiles;
  readonly changes: ChangeFeed;
  readonly stopping: AbortSignal;
  readonly space: DiskSpace;
  readonly limitBytes: number;
  readonly #clock: Clock;
  readonly #leaseFor: LeaseFor;

  constructor(options: LogsOptions) {
    this.leaseTable = options.leaseTable;
    this.files = options.files;
    this.changes = options.changes;
    this.stopping = options.stopping;
    this.space = options.space;
    this.limitBytes = options.limitBytes;
    this.#clock = options.clock;
    this.#leaseFor = options.leaseFor;
  }

  async upload(ref: AttemptRef, from: string): Promise<LogUpload> {
    const lease = this.#leaseFor(ref, from);
    const key = keyOf(ref.taskId, ref.attempt);
    let writer: LogWriter;
    // A stream that broke may not have been noticed yet: the newer one counts. Another may come while
    // the files are being opened: there must be one writer, not two.
    do {
      await this.#uploads.get(key)?.[Symbol.asyncDispose]();
      writer = await this.files.openLog(ref.taskId, ref.attempt);
      if (this.#uploads.has(key)) await writer[Symbol.asyncDispose]();
    } while (this.#uploads.has(key));
    const upload = new Upload(this, lease, writer, () => {
      if (this.#uploads.get(key) === upload) this.#uploads.delete(key);
      // Followers take no other look while it is open.
      this.changes.tell([ref.taskId]);
    });
    this.#uploads.set(key, upload);
    return upload;
  }

  /** What is stored of an attempt, while it is being uploaded. */
  uploaded(taskId: string, attempt: number): LogOffsets | undefined {
    return this.#uploads.get(keyOf(taskId, attempt))?.stored;
  }

  /** The newest bytes of an attempt, for its followers; undefined while there are none. */
  tail(taskId: string, attempt: number): LogTail | undefined {
    return this.#tails.get(keyOf(taskId, attempt));
  }

  /** Follows the newest bytes of an attempt until it is disposed of. */
  follow(taskId: string, attempt: number): TailReader {
    const key = keyOf(taskId, attempt);
    const tail = this.#tails.get(key) ?? new LogTail(this.#clock);
    this.#tails.set(key, tail);
    const reader = tail.follow();
    return {
      next: reader.next,
      [Symbol.dispose]: () => {
        reader[Symbol.dispose]();
        if (!tail.isFollowed) this.#tails.delete(key);
      },
    };
  }

  /** What there is by now of an attempt, from `at` on, which moves along. */
  async *pieces(
    taskId: string,
    attempt: number,
    at: LogOffsets,
    known: Known,
  ): AsyncGenerator<LogPiece> {
    const reader = new AttemptReader(this, taskId, attempt, at, known);
    try {
      yield* reader.pieces();
    } finally {
      await reader[Symbol.asyncDispose]();
    }
  }

  /** Ends the uploads; later ones continue where they stopped. */
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
    // It may be deleted while it is read.
    const progress = () => {
      const found = isTaskId(taskId) ? this.leaseTable.store.progress(taskId) : undefined;
      if (found === undefined) throw noSuchTask(taskId);
      return found;
    };
    const first = progress();
    const only = query.attempt || undefined;
    if (only !== undefined && !first.attempts.some(({ attempt }) => attempt === only)) {
      throw new TaskError("not_found", `Task ${taskId} has no attempt ${only}`);
    }
    using subscription = this.changes.subscribe([taskId]);
    using stop = anySignal(signal, this.stopping);
    let attempt = only ?? first.attempts.at(-1)?.attempt ?? 1;
    let at = { stdout: query.stdoutOffset ?? 0, stderr: query.stderrOffset ?? 0 };
    for (;;) {
      this.stopping.throwIfAborted();
      using newest = follow ? this.follow(taskId, attempt) : undefined;
      await using reader = new AttemptReader(this, taskId, attempt, at, newest ?? {});
      let over = false;
      while (!over) {
        subscription.take();
        // Looked at before the bytes: what was written before the end is then read, too. While it
        // is being uploaded it has not ended, and the store need not be asked at each piece.
        over = !follow || !this.uploaded(taskId, attempt) && isOver(progress(), attempt);
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
        now = progress();
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

/** Whether nothing more will be written by this attempt. */
function isOver({ state, attempts }: Progress, attempt: number): boolean {
  const mine = attempts.find((each) => each.attempt === attempt);
  return mine !== undefined && isFinished(mine.state) || isFinished(state);
}

/** What a reader has without the files. */
interface Known {
  /** Some bytes at `offset`. */
  next?: (stream: Stream, offset: number) => Uint8Array | undefined;
  /** What is stored, where it is known. */
  end?: LogOffsets | undefined;
}

/** Reads both streams of one attempt, piece by piece in turn, as far as they are there. */
class AttemptReader implements AsyncDisposable {
  readonly #readers: { [S in Stream]?: FileReader } = {};
  readonly #readBytes = { stdout: readBytes.first, stderr: readBytes.first };

  constructor(
    readonly logs: Logs,
    readonly taskId: string,
    readonly attempt: number,
    readonly at: LogOffsets,
    readonly known: Known,
  ) {}

  async *pieces(): AsyncGenerator<LogPiece> {
    const more = new Set<Stream>(streams);
    while (more.size > 0) {
      for (const stream of [...more]) {
        const offset = this.at[stream];
        const data = await this.#next(stream, offset);
        if (data.length === 0) {
          more.delete(stream);
          continue;
        }
        this.at[stream] += data.length;
        yield { attempt: this.attempt, stream, offset, data };
      }
    }
  }

  /** Some bytes from `offset` on; none at the end of what is there by now. */
  async #next(stream: Stream, offset: number): Promise<Uint8Array> {
    const { next, end: known } = this.known;
    const end = (this.logs.uploaded(this.taskId, this.attempt) ?? known)?.[stream];
    const newest = next?.(stream, offset);
    if (end !== undefined && offset >= end) return new Uint8Array();
    if (newest !== undefined) return newest;
    const reader = this.#readers[stream] ??= await this.#open(stream);
    if (reader === undefined) return new Uint8Array();
    const buffer = new Uint8Array(this.#readBytes[stream]);
    const count = await reader.read(offset, buffer);
    if (count === buffer.length) {
      this.#readBytes[stream] = Math.min(readBytes.most, 4 * buffer.length);
    }
    return buffer.subarray(0, count);
  }

  async #open(stream: Stream): Promise<FileReader> {
    const inline = this.logs.leaseTable.store.output(this.taskId, this.attempt);
    if (inline !== undefined) return memoryReader(inline[stream]);
    // Undefined stays absent, and is tried again at the next round.
    return await this.logs.files.readLog(this.taskId, this.attempt, stream) as FileReader;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const stream of streams) await this.#readers[stream]?.[Symbol.asyncDispose]();
  }
}

function keyOf(taskId: string, attempt: number): string {
  return `${taskId} ${attempt}`;
}

function memoryReader(data: Uint8Array): FileReader {
  return {
    read(offset, buffer) {
      const piece = data.subarray(offset, offset + buffer.length);
      buffer.set(piece);
      return Promise.resolve(piece.length);
    },
    [Symbol.asyncDispose]: () => Promise.resolve(),
  };
}

class Upload implements LogUpload {
  readonly #logs: Logs;
  readonly #lease: Lease;
  readonly #writer: LogWriter;
  readonly #queue: UploadQueue;

  constructor(logs: Logs, lease: Lease, writer: LogWriter, close: () => void) {
    this.#logs = logs;
    this.#lease = lease;
    this.#writer = writer;
    this.#queue = new UploadQueue(lease, writer, close);
    lease.logged = this.stored;
  }

  /** What the files hold. */
  get stored(): LogOffsets {
    return { ...this.#writer.sizes };
  }

  /** What the attempt wrote, as far as it arrived: more than is stored where the log was cut. */
  get offsets(): LogOffsets {
    return { ...this.#writer.cutAt ?? this.#writer.sizes };
  }

  append(stream: Stream, offset: number, data: Uint8Array): Promise<void> {
    return this.#queue.run(async () => {
      const size = this.offsets[stream];
      if (offset > size) {
        throw new TaskError(
          "invalid",
          `${stream} continues at ${offset}, but is stored up to ${size}`,
        );
      }
      const fresh = data.subarray(size - offset);
      if (fresh.length > 0) await this.#keep(stream, fresh);
    });
  }

  /** Stores what the limit and the disk allow of it. */
  async #keep(stream: Stream, data: Uint8Array): Promise<void> {
    if (this.#writer.cutAt !== undefined) return this.#discard(stream, data.length);
    const { space, limitBytes } = this.#logs;
    const { stdout, stderr } = this.#writer.sizes;
    const allowed = Math.max(0, limitBytes - stdout - stderr);
    const fits = Math.min(data.length, allowed, space.room);
    if (fits > 0) await this.#store(stream, data.subarray(0, fits));
    if (fits === data.length) return;
    const isLimit = fits === allowed;
    // Output that is waited for would keep a cancelled task running for as long as the disk is full.
    if (!isLimit && !this.#lease.cancelRequested) {
      throw noRoom(space.trouble ?? "its disk is full");
    }
    const why = isLimit
      ? `more than ${formatBytes(limitBytes)} (coordinator.log_limit)`
      : "the coordinator's disk is full";
    await this.#cut(stream, data.length - fits, why);
  }

  async #store(stream: Stream, data: Uint8Array): Promise<void> {
    const at = this.#writer.sizes[stream];
    this.#logs.space.take(data.length);
    try {
      await this.#writer.append(stream, data);
    } finally {
      this.#lease.logged = this.stored;
    }
    this.#logs.stats.bytes += data.length;
    const { taskId, attempt } = this.#lease.ref;
    const tail = this.#logs.tail(taskId, attempt);
    tail?.add(stream, at, data);
    this.#logs.fresh.add(taskId, attempt, stream, at, data);
    this.#logs.changes.tell([taskId]);
    await tail?.room();
  }

  /** Ends the log with a line that says that the rest was cut; no more output is kept. */
  async #cut(stream: Stream, discarded: number, why: string): Promise<void> {
    const written = this.offsets;
    written[stream] += discarded;
    const line = new TextEncoder().encode(`\n[agent: output cut here: ${why}]\n`);
    this.#writer.cut(written);
    await this.#store(stream, line);
  }

  #discard(stream: Stream, bytes: number): void {
    const written = this.offsets;
    written[stream] += bytes;
    this.#writer.cut(written);
  }

  end(lengths: LogOffsets): Promise<void> {
    return this.#queue.run(async () => {
      const { stdout, stderr } = this.offsets;
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

  [Symbol.asyncDispose](): Promise<void> {
    return this.#queue[Symbol.asyncDispose]();
  }
}
