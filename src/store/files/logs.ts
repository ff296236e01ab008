import { join } from "node:path";
import type { FileReader, LogFiles, LogWriter } from "../../coordinator/file_stores.ts";
import {
  openAppend,
  openRead,
  readAt,
  removeAny,
  shardOf,
  syncFolder,
  writeAll,
} from "./file_io.ts";

type Stream = "stdout" | "stderr";
const suffixes = { stdout: "out", stderr: "err" } as const;

/**
 * Logs in `root`: `<shard>/<task>.<attempt>.out` and `.err`, each made when the stream has its first
 * byte. A file holds what the attempt wrote and nothing else, unless the log was cut: then a line at
 * its end says so, and `.cut` holds how much was written.
 */
export function logFiles(root: string): LogFiles {
  const folder = (taskId: string) => join(root, shardOf(taskId));
  const path = (taskId: string, attempt: number, stream: Stream) =>
    join(folder(taskId), `${taskId}.${attempt}.${suffixes[stream]}`);
  return {
    async openLog(taskId, attempt) {
      const paths = {
        stdout: path(taskId, attempt, "stdout"),
        stderr: path(taskId, attempt, "stderr"),
      };
      const sizes = { stdout: await sizeOf(paths.stdout), stderr: await sizeOf(paths.stderr) };
      const cutPath = join(folder(taskId), `${taskId}.${attempt}.cut`);
      return new LogFileWriter(folder(taskId), paths, sizes, cutPath, await readCut(cutPath));
    },
    async readLog(taskId, attempt, stream) {
      const file = await openRead(path(taskId, attempt, stream));
      return file && new OpenFileReader(file);
    },
    async remove(taskId, attempt) {
      for (const suffix of ["out", "err", "cut"]) {
        await removeAny(join(folder(taskId), `${taskId}.${attempt}.${suffix}`));
      }
    },
  };
}

async function sizeOf(path: string): Promise<number> {
  try {
    return (await Deno.stat(path)).size;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return 0;
    throw error;
  }
}

/** `STDOUT STDERR` in bytes. One that is damaged counts as none: the worker then fills the gap. */
async function readCut(path: string): Promise<Record<Stream, number> | undefined> {
  try {
    const found = /^(\d+) (\d+)\n/.exec(await Deno.readTextFile(path));
    return found === null ? undefined : { stdout: Number(found[1]), stderr: Number(found[2]) };
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
}

class LogFileWriter implements LogWriter {
  readonly #files: { stdout?: Deno.FsFile; stderr?: Deno.FsFile } = {};
  #made = false;
  #cutFile: Deno.FsFile | undefined;

  constructor(
    readonly folder: string,
    readonly paths: Record<Stream, string>,
    readonly sizes: Record<Stream, number>,
    readonly cutPath: string,
    public cutAt: Record<Stream, number> | undefined,
  ) {}

  cut(written: Record<Stream, number>): void {
    this.cutAt = { ...written };
    this.#cutFile ??= this.#openCut();
    this.#cutFile.seekSync(0, Deno.SeekMode.Start);
    // Numbers only grow, so that a shorter text never leaves the end of a longer one.
    const line = new TextEncoder().encode(`${written.stdout} ${written.stderr}\n`);
    writeAll(this.#cutFile, line, this.cutPath);
  }

  #openCut(): Deno.FsFile {
    // If nothing of a log was kept, it has no folder yet.
    Deno.mkdirSync(this.folder, { recursive: true, mode: 0o700 });
    return Deno.openSync(this.cutPath, { create: true, write: true, mode: 0o600 });
  }

  async append(stream: Stream, data: Uint8Array): Promise<void> {
    const path = this.paths[stream];
    const file = this.#files[stream] ??= await openAppend(path, this.folder);
    if (this.sizes[stream] === 0) this.#made = true;
    try {
      writeAll(file, data, path);
      this.sizes[stream] += data.length;
    } catch (error) {
      // Part of it may have been written.
      this.sizes[stream] = (await file.stat()).size;
      throw error;
    }
  }

  async sync(): Promise<void> {
    for (const stream of ["stdout", "stderr"] as const) {
      if (this.sizes[stream] === 0) continue;
      const file = this.#files[stream] ??= await openAppend(this.paths[stream], this.folder);
      await file.syncData();
    }
    if (this.#made) await syncFolder(this.folder);
  }

  [Symbol.asyncDispose](): Promise<void> {
    for (const stream of ["stdout", "stderr"] as const) {
      this.#files[stream]?.close();
      delete this.#files[stream];
    }
    this.#cutFile?.close();
    this.#cutFile = undefined;
    return Promise.resolve();
  }
}

export class OpenFileReader implements FileReader {
  #open = true;
  constructor(readonly file: Deno.FsFile) {}

  read(offset: number, buffer: Uint8Array): Promise<number> {
    return readAt(this.file, offset, buffer);
  }

  [Symbol.asyncDispose](): Promise<void> {
    if (this.#open) this.file.close();
    this.#open = false;
    return Promise.resolve();
  }
}
