import type { Collected, OutputStream } from "../tasks/orders.ts";
import type { AttemptResult } from "../tasks/task.ts";

/** A result that a coordinator has not acknowledged yet, with what belongs to it. */
export interface SpooledResult {
  key: string;
  /** The coordinator's address. */
  lease: string;
  result: AttemptResult;
  /** Offset in the stream of the first byte that the spool has; it has all from there on. */
  starts: Record<OutputStream, number>;
  files: Collected[];
}

/** The part of one stream that is not in memory. Calls do not wait: what is written is in the page
 * cache of the system at once, and is read from there. */
export interface SpoolFile {
  readonly length: number;
  /** Throws where the disk is full. */
  append(data: Uint8Array): void;
  read(at: number, maxBytes: number): Uint8Array;
  truncate(): void;
  close(): void;
}

/** Output and results on the worker's disk: what outlives a restart of the worker. */
export interface Spool {
  open(key: string, stream: OutputStream): SpoolFile;
  /** On disk when it returns. */
  save(result: SpooledResult): void;
  /** All that there is of one attempt; what is missing is fine. */
  remove(key: string): void;
  /** Results of earlier starts; everything else of theirs is removed. */
  load(): SpooledResult[];
}
