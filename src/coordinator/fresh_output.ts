import { baseId } from "../tasks/ids.ts";
import type { LogOffsets } from "../tasks/service.ts";

type Stream = keyof LogOffsets;

/** Bytes that are kept for one follower: more than arrives while it writes. */
const mostBytes = 2 * 1024 * 1024;

interface Piece {
  offset: number;
  data: Uint8Array;
}

/** Output of many tasks that one follower has not taken yet. What does not fit is read from the files. */
export class FreshOutput {
  readonly #pieces = new Map<string, Piece[]>();
  #bytes = 0;

  add(taskId: string, attempt: number, stream: Stream, offset: number, data: Uint8Array): void {
    if (this.#bytes + data.length > mostBytes) return;
    const key = keyOf(taskId, attempt, stream);
    const own = this.#pieces.get(key);
    if (own === undefined) this.#pieces.set(key, [{ offset, data }]);
    else own.push({ offset, data });
    this.#bytes += data.length;
  }

  /** Some bytes at `offset`; undefined if they are not kept. Everything before is dropped. */
  take(taskId: string, attempt: number, stream: Stream, offset: number): Uint8Array | undefined {
    const key = keyOf(taskId, attempt, stream);
    const own = this.#pieces.get(key);
    for (let first; (first = own?.[0]) !== undefined && first.offset <= offset;) {
      own!.shift();
      this.#bytes -= first.data.length;
      if (own!.length === 0) this.#pieces.delete(key);
      if (offset < first.offset + first.data.length) {
        return first.data.subarray(offset - first.offset);
      }
    }
    return undefined;
  }

  /** Nothing more of this attempt is wanted. */
  drop(taskId: string, attempt: number): void {
    for (const stream of ["stdout", "stderr"] as const) {
      const key = keyOf(taskId, attempt, stream);
      for (const { data } of this.#pieces.get(key) ?? []) this.#bytes -= data.length;
      this.#pieces.delete(key);
    }
  }
}

function keyOf(taskId: string, attempt: number, stream: Stream): string {
  return `${taskId} ${attempt} ${stream}`;
}

/** The followers of tasks and arrays, and what each has not taken yet. */
export class FreshOutputs {
  readonly #byId = new Map<string, Set<FreshOutput>>();

  /** Keeps the output of these tasks, and of the elements of these arrays, until it is disposed of. */
  follow(ids: Iterable<string>): Disposable & { readonly output: FreshOutput } {
    const output = new FreshOutput();
    const own = [...ids];
    for (const id of own) {
      const set = this.#byId.get(id);
      if (set === undefined) this.#byId.set(id, new Set([output]));
      else set.add(output);
    }
    return {
      output,
      [Symbol.dispose]: () => {
        for (const id of own) {
          const set = this.#byId.get(id);
          set?.delete(output);
          if (set?.size === 0) this.#byId.delete(id);
        }
      },
    };
  }

  add(taskId: string, attempt: number, stream: Stream, offset: number, data: Uint8Array): void {
    if (this.#byId.size === 0) return;
    for (const id of new Set([taskId, baseId(taskId)])) {
      for (const output of this.#byId.get(id) ?? []) {
        output.add(taskId, attempt, stream, offset, data);
      }
    }
  }
}
