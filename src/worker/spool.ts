import type { Collected, OutputStream } from "../tasks/orders.ts";
import type { AttemptResult } from "../tasks/task.ts";

/** A result that its coordinator has not acknowledged yet, and its files. */
export interface SpooledResult {
  key: string;
  /** The coordinator's address. */
  lease: string;
  result: AttemptResult;
  /** Stream offset of the first byte in the spool; all later bytes are there too. */
  starts: Record<OutputStream, number>;
  files: Collected[];
}

/**
 * The part of one stream that is not in memory. Calls are synchronous: they write to the page cache of
 * the system and read from it.
 */
export interface SpoolFile {
  readonly length: number;
  /** Throws if the disk is full. */
  append(data: Uint8Array): void;
  read(at: number, maxBytes: number): Uint8Array;
  truncate(): void;
  close(): void;
}

/** Output and results on the worker's disk, which a restart of the worker does not lose. */
export interface Spool {
  open(key: string, stream: OutputStream): SpoolFile;
  /** On disk when it returns. */
  save(result: SpooledResult): void;
  /** Removes all files of one attempt; they may be missing. */
  remove(key: string): void;
  /** Results of earlier starts; removes all their other files. */
  load(): SpooledResult[];
}
