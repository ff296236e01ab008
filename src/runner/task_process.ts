import { joinBytes } from "../base/join_bytes.ts";
import type { Exit, Output, Spawned } from "../base/posix_spawn.ts";

/** A process of a task, however it was started. */
export type TaskProcess = Spawned;

/** The capacity of a pipe on Linux, so the most that one read returns. */
const readBytes = 64 * 1024;

/** Fewer bytes than this are copied, so that the buffer can be used again. */
const smallBytes = 16 * 1024;

/**
 * Buffers to read into. Most tasks write little or nothing; a new buffer for each of their two pipes
 * would be most of the memory of a start, and Deno 2.9 frees them only after hundreds of MiB.
 */
const spareBuffers: ArrayBuffer[] = [];
const mostSpares = 64;

/** A child of Deno with both outputs piped. */
export function processOf(child: Deno.ChildProcess): TaskProcess {
  return {
    pid: child.pid,
    stdout: new StreamOutput(child.stdout),
    stderr: new StreamOutput(child.stderr),
    ended: exitOf(child),
  };
}

class StreamOutput implements Output {
  readonly #reader: ReadableStreamBYOBReader;
  #buffer = spareBuffers.pop() ?? new ArrayBuffer(readBytes);

  constructor(stream: ReadableStream<Uint8Array>) {
    this.#reader = stream.getReader({ mode: "byob" });
  }

  async read(): Promise<Uint8Array<ArrayBuffer> | undefined> {
    const { done, value } = await this.#reader.read(new Uint8Array(this.#buffer));
    if (value === undefined) return undefined; // Closed from this side.
    this.#buffer = value.buffer;
    if (done) {
      if (spareBuffers.length < mostSpares) spareBuffers.push(this.#buffer);
      return undefined;
    }
    if (value.length < smallBytes) return value.slice();
    this.#buffer = new ArrayBuffer(readBytes);
    return value;
  }

  close(): void {
    this.#reader.cancel().catch(() => {/* The pipe broke, which was the purpose. */});
  }
}

/** Deno has no names for real-time signals and throws; they become exit codes, like in a shell. */
async function exitOf(child: Deno.ChildProcess): Promise<Exit> {
  try {
    const { code, signal } = await child.status;
    return signal === null
      ? { exitCode: code, signal: undefined }
      : { exitCode: undefined, signal };
  } catch (error) {
    const number = /Invalid signal: (\d+)/.exec(String(error))?.[1];
    if (number === undefined) throw error;
    return { exitCode: 128 + Number(number), signal: undefined };
  }
}

/** All bytes until the end. */
export async function readAll(output: Output): Promise<Uint8Array> {
  const pieces: Uint8Array[] = [];
  for (let data; (data = await output.read()) !== undefined;) pieces.push(data);
  return joinBytes(pieces);
}
