import { createHash } from "node:crypto";
import { join } from "node:path";
import type { ArtifactFiles, ArtifactWriter } from "../../coordinator/file_stores.ts";
import {
  makeFolder,
  openAppend,
  openRead,
  readAt,
  removeAny,
  shardOf,
  syncFolder,
  writeAll,
} from "./file_io.ts";
import { OpenFileReader } from "./logs.ts";

/**
 * Artifacts in `root`: `<shard>/<task>.<attempt>/<name>`, where the name is a hash of the path in the
 * task's folder. So no path that a task chooses is ever one of ours: none is too long, none is both a
 * file and a folder, none differs from another in case only. What is not complete yet ends in `.part`.
 */
export function artifactFiles(root: string): ArtifactFiles {
  const folderOf = (taskId: string, attempt: number) =>
    join(root, shardOf(taskId), `${taskId}.${attempt}`);
  // 128 bits: no one can find two paths with the same name.
  const name = (path: string) => createHash("sha256").update(path).digest("hex").slice(0, 32);
  return {
    async openArtifact(taskId, attempt, path) {
      const folder = folderOf(taskId, attempt);
      const target = join(folder, name(path));
      const file = await openAppend(`${target}.part`, folder);
      const writer = new PartialFile(file, folder, target);
      try {
        await writer.resume();
      } catch (error) {
        file.close();
        throw error;
      }
      return writer;
    },
    async readArtifact(taskId, attempt, path) {
      const file = await openRead(join(folderOf(taskId, attempt), name(path)));
      return file && new OpenFileReader(file);
    },
    remove: (taskId, attempt) => removeAny(folderOf(taskId, attempt)),
  };
}

/** Bytes read at a time; reading an earlier part again is limited by the hash, at about 1 GB/s. */
const blockBytes = 1024 * 1024;

class PartialFile implements ArtifactWriter {
  size = 0;
  #hash = createHash("sha256");
  #open = true;

  constructor(readonly file: Deno.FsFile, readonly folder: string, readonly target: string) {}

  /** Takes up what an earlier upload left. */
  async resume(): Promise<void> {
    using part = await openRead(`${this.target}.part`);
    if (part === undefined) return;
    const buffer = new Uint8Array(blockBytes);
    for (let count; (count = await readAt(part, this.size, buffer)) > 0; this.size += count) {
      this.#hash.update(buffer.subarray(0, count));
    }
  }

  async append(data: Uint8Array): Promise<void> {
    try {
      writeAll(this.file, data, this.target);
    } catch (error) {
      // What was written of it counts for nothing.
      await this.file.truncate(this.size);
      throw error;
    }
    this.#hash.update(data);
    this.size += data.length;
  }

  async discard(): Promise<void> {
    await this.file.truncate(0);
    this.#hash = createHash("sha256");
    this.size = 0;
  }

  sha256(): string {
    return this.#hash.copy().digest("hex");
  }

  async finish(): Promise<void> {
    await this.file.sync();
    await makeFolder(this.folder);
    await Deno.rename(`${this.target}.part`, this.target);
    await syncFolder(this.folder);
  }

  [Symbol.asyncDispose](): Promise<void> {
    if (this.#open) this.file.close();
    this.#open = false;
    return Promise.resolve();
  }
}
