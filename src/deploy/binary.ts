/** The executable that is pushed: this one, or another one for other hosts. */
import { Buffer } from "node:buffer";
import { createHash } from "node:crypto";
import { UserError } from "../base/errors.ts";
import type { WantedBinary } from "./plan.ts";

export interface Binary extends WantedBinary {
  path: string;
}

/** e_machine of ELF headers (ELF-64 object file format, and the ABI supplements). */
const machines: Record<number, string> = { 62: "x86_64", 183: "aarch64" };
const chunkBytes = 1024 * 1024;

/** What follows the version in the text of deno.json that each executable contains. */
const afterVersion = ",workspace:";
const versionBefore = /version:"([0-9A-Za-z.+-]{1,40})"$/;
const windowBytes = 64;

/**
 * Finds the version in the bytes of an executable, which may be for a processor that this host does
 * not have.
 */
class VersionSearch {
  version: string | undefined;
  #tail = Buffer.alloc(0);

  add(chunk: Uint8Array): void {
    if (this.version !== undefined) return;
    const bytes = Buffer.concat([this.#tail, chunk]);
    for (let at = -1; (at = bytes.indexOf(afterVersion, at + 1)) >= 0;) {
      const before = bytes.toString("latin1", Math.max(0, at - windowBytes), at);
      this.version ??= versionBefore.exec(before)?.[1];
    }
    this.#tail = Buffer.from(bytes.subarray(-windowBytes - afterVersion.length));
  }
}

/**
 * @param version of the executable, if it is known; else it is looked for in the file.
 * @throws {UserError} where the file is not an executable for Linux.
 */
export async function readBinary(path: string, version?: string): Promise<Binary> {
  const file = await Deno.open(path).catch((cause) => {
    throw new UserError(`Could not read the executable "${path}": ${cause.message}`, { cause });
  });
  const hash = createHash("sha256");
  const buffer = new Uint8Array(chunkBytes);
  const search = new VersionSearch();
  let bytes = 0;
  let head: Uint8Array | undefined;
  try {
    for (let read; (read = await file.read(buffer)) !== null;) {
      head ??= buffer.slice(0, 64);
      hash.update(buffer.subarray(0, read));
      if (version === undefined) search.add(buffer.subarray(0, read));
      bytes += read;
    }
  } finally {
    file.close();
  }
  const elf = head !== undefined && head[0] === 0x7f && head[1] === 0x45 && head[2] === 0x4c &&
    head[3] === 0x46;
  // EI_DATA 1 is little endian, as both machines are; e_machine is at offset 18.
  const machine = elf ? head![18]! + 256 * head![19]! : 0;
  const arch = machines[machine];
  if (!elf || arch === undefined) {
    throw new UserError(`"${path}" is not an executable for Linux on x86_64 or aarch64`, {
      next: "Build one with scripts/compile, and name it with --binary FILE",
    });
  }
  return {
    path,
    sha256: hash.digest("hex"),
    bytes,
    arch,
    libc: "glibc",
    version: version ?? search.version,
  };
}

export async function openBinary(path: string): Promise<ReadableStream<Uint8Array>> {
  return (await Deno.open(path)).readable;
}
