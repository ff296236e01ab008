import { joinBytes } from "../base/join_bytes.ts";
import type { SpoolFile } from "./spool.ts";

/** Maximum size of one stream in the spool. Beyond it the task waits until some is delivered. */
const maxFileBytes = 64 * 1024 * 1024;

/**
 * Maximum size of one read: twice the size of a pipe. Pieces of one pipe each are a quarter slower
 * (measured end to end), because a message costs as much as copying its bytes.
 */
export const pieceBytes = 128 * 1024;

/**
 * The part of one output stream that the coordinator has not acknowledged yet. Usually it is in
 * memory. If nothing is acknowledged for a while, it is moved to a file, so that the task does not wait
 * for the network. When the file is full too, the runner may send no more, and the task waits.
 *
 * Bytes before `start` have been dropped. Bytes from `start` to `#memoryStart` are in the file, whose
 * first byte has the offset `#fileStart`. The rest is in memory.
 */
export class OutputBuffer {
  #start = 0;
  #end = 0;
  #fileStart = 0;
  #file: SpoolFile | undefined;
  #memory: Uint8Array[] = [];
  #memoryStart = 0;
  /** Received, but not yet reported to the runner as taken. */
  #owed = 0;
  #releasedAt = 0;
  /** The file belongs to a result on disk that names its contents: it must not change. */
  #isKept = false;

  /** @param memoryBytes how much may be in memory beyond the runner's window. */
  constructor(
    private readonly open: () => SpoolFile,
    private readonly memoryBytes: number,
  ) {}

  /** The rest of a stream that an earlier start of the worker has left in the spool. */
  static restored(open: () => SpoolFile, start: number, end: number): OutputBuffer {
    const output = new OutputBuffer(open, 0);
    output.#start = output.#fileStart = start;
    output.#end = output.#memoryStart = end;
    if (end > start) output.#file = open();
    output.#isKept = true;
    return output;
  }

  /** Offset of the first byte that is still kept. */
  get start(): number {
    return this.#start;
  }

  /** The length of the stream so far. */
  get end(): number {
    return this.#end;
  }

  /** @returns how many more bytes the runner may send. */
  append(data: Uint8Array): number {
    this.#memory.push(data);
    this.#end += data.length;
    this.#owed += data.length;
    return this.#settle();
  }

  /** Some bytes at `offset`; empty at the end. */
  read(offset: number): Uint8Array {
    if (offset < this.#memoryStart) {
      const inFile = Math.min(pieceBytes, this.#memoryStart - offset);
      return this.#file!.read(offset - this.#fileStart, inFile);
    }
    let skip = offset - this.#memoryStart;
    const pieces: Uint8Array[] = [];
    let length = 0;
    for (const piece of this.#memory) {
      if (skip >= piece.length) {
        skip -= piece.length;
        continue;
      }
      const rest = skip > 0 ? piece.subarray(skip) : piece;
      if (length > 0 && length + rest.length > pieceBytes) break;
      skip = 0;
      pieces.push(rest);
      length += rest.length;
    }
    return pieces.length === 1 ? pieces[0]! : joinBytes(pieces);
  }

  /**
   * Drops everything before `offset`: the coordinator has stored it.
   *
   * @returns how many more bytes the runner may send.
   */
  release(offset: number, now: number): number {
    if (offset <= this.#start) return 0;
    this.#start = offset;
    this.#releasedAt = now;
    const isStored = this.#file !== undefined && offset >= this.#memoryStart;
    if (isStored && !this.#isKept && this.#file!.length > 0) {
      this.#file!.truncate();
      this.#fileStart = this.#memoryStart;
    }
    let done = 0;
    while (done < this.#memory.length && this.#memoryStart + this.#memory[done]!.length <= offset) {
      this.#memoryStart += this.#memory[done++]!.length;
    }
    this.#memory.splice(0, done);
    if ((this.#file?.length ?? 0) === 0) this.#fileStart = this.#memoryStart;
    return this.#settle();
  }

  /**
   * Moves the bytes in memory to the file, if none were acknowledged for a while.
   *
   * @throws if the disk is full; nothing is lost then.
   * @returns how many more bytes the runner may send.
   */
  relieve(now: number, spillAfterMs: number): number {
    if (this.#owed === 0 || now - this.#releasedAt < spillAfterMs) return 0;
    if ((this.#file?.length ?? 0) + this.#inMemory() > maxFileBytes) return 0;
    this.spill();
    return this.#settle();
  }

  /**
   * Moves all bytes to the file and leaves them there, for the next start of the worker.
   *
   * @returns offset of the file's first byte.
   */
  keep(): number {
    this.spill();
    this.#isKept = true;
    return this.#fileStart;
  }

  /** Moves all bytes to the file. */
  spill(): void {
    if (this.#memory.length === 0) return;
    if (this.#file === undefined) {
      this.#file = this.open();
      this.#fileStart = this.#memoryStart;
    }
    while (this.#memory.length > 0) {
      this.#file.append(this.#memory[0]!);
      this.#memoryStart += this.#memory.shift()!.length;
    }
  }

  get usesFile(): boolean {
    return this.#file !== undefined;
  }

  close(): void {
    this.#file?.close();
    this.#file = undefined;
    this.#memory = [];
  }

  #inMemory(): number {
    return this.#end - this.#memoryStart;
  }

  #settle(): number {
    if (this.#inMemory() > this.memoryBytes) return 0;
    const owed = this.#owed;
    this.#owed = 0;
    return owed;
  }
}
