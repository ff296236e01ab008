import { Buffer } from "node:buffer";
import type { Env } from "../base/env.ts";
import { UserError } from "../base/errors.ts";

/**
 * Standard input until its end.
 *
 * @throws {UserError} once it is longer than `maxBytes`.
 */
export async function readStdin(
  { stdin }: Pick<Env, "stdin">,
  maxBytes: number,
): Promise<Uint8Array> {
  return await readAtMost(
    stdin.readable,
    maxBytes,
    () =>
      new UserError(`Standard input is longer than ${maxBytes} bytes`, {
        code: "too_large",
        next: "Put larger data where the workers can read it, and pass its path",
      }),
  );
}

/** All of a stream; throws what `tooLarge` makes once it is longer than `maxBytes`. */
export async function readAtMost(
  readable: ReadableStream<Uint8Array>,
  maxBytes: number,
  tooLarge: () => UserError,
): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of readable) {
    chunks.push(chunk);
    size += chunk.length;
    if (size > maxBytes) throw tooLarge();
  }
  return Buffer.concat(chunks);
}
