import type { LogOffsets } from "../tasks/service.ts";

/**
 * Stores logs and artifacts. A full disk is a `UserError` with the code `disk_full`; bytes written
 * before it stay.
 */
export interface LogFiles {
  /** Opens a log for appending; the file is created with the first byte. */
  openLog(taskId: string, attempt: number): Promise<LogWriter>;
  /** Opens a log for reading; undefined if there is no file yet. */
  readLog(
    taskId: string,
    attempt: number,
    stream: "stdout" | "stderr",
  ): Promise<FileReader | undefined>;
  /** Removes an attempt's log. */
  remove(taskId: string, attempt: number): Promise<void>;
}

export interface LogWriter extends AsyncDisposable {
  readonly sizes: Readonly<LogOffsets>;
  /** How much the attempt wrote of a log that was cut; undefined: it was not cut. */
  readonly cutAt: Readonly<LogOffsets> | undefined;
  /** Stores how much the attempt has written, although only part of it is kept. */
  cut(written: LogOffsets): void;
  /** At the end of the stream. */
  append(stream: "stdout" | "stderr", data: Uint8Array): Promise<void>;
  /** Settles when all is on disk. */
  sync(): Promise<void>;
}

export interface FileReader extends AsyncDisposable {
  /** Reads at most `buffer.length` bytes; 0 at the current end of the file. */
  read(offset: number, buffer: Uint8Array): Promise<number>;
}

export interface ArtifactFiles {
  /** Opens an artifact for writing; continues an earlier upload of the same file. */
  openArtifact(taskId: string, attempt: number, path: string): Promise<ArtifactWriter>;
  readArtifact(taskId: string, attempt: number, path: string): Promise<FileReader | undefined>;
  /** Removes all files of an attempt. */
  remove(taskId: string, attempt: number): Promise<void>;
}

export interface ArtifactWriter extends AsyncDisposable {
  readonly size: number;
  append(data: Uint8Array): Promise<void>;
  /** Removes what has been written. */
  discard(): Promise<void>;
  /** The hash of everything written, also by earlier uploads, in lower-case hex. */
  sha256(): string;
  /** Resolves when the file is on disk under its name. */
  finish(): Promise<void>;
}
