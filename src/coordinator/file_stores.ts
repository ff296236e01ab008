import type { LogOffsets } from "../tasks/service.ts";

/**
 * Where logs and artifacts are kept. A full disk is a `UserError` with the code `disk_full`; what was
 * written before it stays.
 */
export interface LogFiles {
  /** For appending; nothing is made on disk before the first byte. */
  openLog(taskId: string, attempt: number): Promise<LogWriter>;
  /** For reading; undefined while there is no file. */
  readLog(
    taskId: string,
    attempt: number,
    stream: "stdout" | "stderr",
  ): Promise<FileReader | undefined>;
  /** Removes what there is of an attempt's log. */
  remove(taskId: string, attempt: number): Promise<void>;
}

export interface LogWriter extends AsyncDisposable {
  readonly sizes: Readonly<LogOffsets>;
  /** How much the attempt wrote of a log that was cut; undefined: it was not cut. */
  readonly cutAt: Readonly<LogOffsets> | undefined;
  /** Remembers how much the attempt has written by now, of which only a part is kept. */
  cut(written: LogOffsets): void;
  /** At the end of the stream. */
  append(stream: "stdout" | "stderr", data: Uint8Array): Promise<void>;
  /** Settles when all is on disk. */
  sync(): Promise<void>;
}

export interface FileReader extends AsyncDisposable {
  /** Fills at most `buffer`; 0 at the end of what is there by now. */
  read(offset: number, buffer: Uint8Array): Promise<number>;
}

export interface ArtifactFiles {
  /** Continues where an earlier upload of the same file stopped. */
  openArtifact(taskId: string, attempt: number, path: string): Promise<ArtifactWriter>;
  readArtifact(taskId: string, attempt: number, path: string): Promise<FileReader | undefined>;
  /** Removes all files of an attempt. */
  remove(taskId: string, attempt: number): Promise<void>;
}

export interface ArtifactWriter extends AsyncDisposable {
  readonly size: number;
  append(data: Uint8Array): Promise<void>;
  /** Removes what is stored of it. */
  discard(): Promise<void>;
  /** Lower-case hex, of all that was written, by earlier uploads too. */
  sha256(): string;
  /** Settles when the file is on disk under its name. */
  finish(): Promise<void>;
}
