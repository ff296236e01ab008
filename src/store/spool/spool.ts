import { join } from "node:path";
import { removeIfThere, syncFolder } from "../../base/fs/atomic_file.ts";
import { messageOf } from "../../base/errors.ts";
import type { Log } from "../../base/log.ts";
import type { Spool, SpooledResult, SpoolFile } from "../../worker/spool.ts";
import { writeAll } from "../files/file_io.ts";

/**
 * A spool in a folder: `KEY.stdout`, `KEY.stderr` and, if an attempt has ended, `KEY.json`. The last
 * is written after the others and renamed into place, so that it is never incomplete.
 */
export function openSpool(folder: string, log: Log): Spool {
  const path = (key: string, kind: string) => join(folder, `${key}.${kind}`);
  return {
    open: (key, stream) => new File(path(key, stream)),
    save(result) {
      const next = path(result.key, "json.next");
      using file = Deno.openSync(next, { write: true, create: true, truncate: true, mode: 0o600 });
      writeAll(file, new TextEncoder().encode(JSON.stringify(result)), next);
      file.syncSync();
      Deno.renameSync(next, path(result.key, "json"));
      // Without its name the result is lost at a power cut, and so are the names of the output files.
      syncFolder(folder);
    },
    remove(key) {
      for (const kind of ["json", "json.next", "stdout", "stderr"]) removeIfThere(path(key, kind));
    },
    load() {
      const results: SpooledResult[] = [];
      const names = [...Deno.readDirSync(folder)].map(({ name }) => name);
      for (const name of names.filter((name) => name.endsWith(".json"))) {
        try {
          results.push(JSON.parse(Deno.readTextFileSync(join(folder, name))) as SpooledResult);
        } catch (error) {
          log.warn("cannot read a result in the spool, dropping it", {
            name,
            error: messageOf(error),
          });
        }
      }
      const kept = new Set(
        results.flatMap(({ key }) => ["json", "stdout", "stderr"].map((kind) => `${key}.${kind}`)),
      );
      for (const name of names) if (!kept.has(name)) removeIfThere(join(folder, name));
      return results;
    },
  };
}

/** A file's content in pieces that fit uploads. */
export async function* readPieces(path: string): AsyncGenerator<Uint8Array> {
  using file = await Deno.open(path, { read: true });
  while (true) {
    const piece = new Uint8Array(256 * 1024);
    const count = await file.read(piece);
    if (count === null) return;
    yield piece.subarray(0, count);
  }
}

class File implements SpoolFile {
  readonly #file: Deno.FsFile;
  #length: number;

  constructor(readonly path: string) {
    this.#file = Deno.openSync(path, { read: true, write: true, create: true, mode: 0o600 });
    this.#length = this.#file.statSync().size;
  }

  get length(): number {
    return this.#length;
  }

  append(data: Uint8Array): void {
    this.#file.seekSync(this.#length, Deno.SeekMode.Start);
    writeAll(this.#file, data, this.path);
    this.#length += data.length;
  }

  read(at: number, maxBytes: number): Uint8Array {
    const buffer = new Uint8Array(Math.min(maxBytes, this.#length - at));
    this.#file.seekSync(at, Deno.SeekMode.Start);
    let done = 0;
    while (done < buffer.length) {
      const count = this.#file.readSync(buffer.subarray(done));
      if (count === null) break;
      done += count;
    }
    return buffer.subarray(0, done);
  }

  truncate(): void {
    this.#file.truncateSync(0);
    this.#length = 0;
  }

  close(): void {
    this.#file.close();
  }
}
