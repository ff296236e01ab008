import type { Env } from "../base/env.ts";
import { UserError } from "../base/errors.ts";
import { reasonOf } from "../base/fs/reason.ts";
import { limits } from "../tasks/limits.ts";
import { readAtMost, readStdin } from "./read_stdin.ts";

/** Each line has its end, too. */
const maxBytes = limits.maxLinesBytes + 2 * limits.maxArray;

/** A descriptor of this process, as the shell names one for `<(…)`: only the main thread may open it. */
export function isDescriptor(name: string | undefined): name is string {
  return name !== undefined && /^\/(dev\/stdin|(dev|proc\/self)\/fd\/\d+)$/.test(name);
}

/** Whether the lines of this name are those of standard input. */
export function isInput(name: string | undefined): boolean {
  return name === "-" || isDescriptor(name) && /(stdin|\/0)$/.test(name);
}

/** The files that `readLines` reads for this name in a thread. */
export function lineFiles(name: string | undefined): string[] {
  return name === undefined || name === "-" || isDescriptor(name) ? [] : [name];
}

/**
 * The lines of a file, or of standard input for `-`, without their ends; the last one may lack its own.
 *
 * @throws {UserError} where it cannot be read, has none, is not UTF-8, or is too large.
 */
export async function readLines(env: Env, name: string): Promise<string[]> {
  const shown = name === "-" ? "Standard input" : `"${name}"`;
  const text = decoded(await readAll(env, name), shown);
  const lines = text.split(/\r?\n/);
  if (lines.at(-1) === "") lines.pop();
  if (lines.length === 0) {
    throw new UserError(`${shown} has no lines, so there is no task to run`, { code: "empty" });
  }
  return lines;
}

async function readAll(env: Env, name: string): Promise<Uint8Array> {
  if (name === "-") return await readStdin(env, maxBytes);
  try {
    const { readable } = await Deno.open(name);
    return await readAtMost(
      readable,
      maxBytes,
      () =>
        new UserError(`"${name}" is larger than the ${maxBytes} bytes that lines may have`, {
          code: "too_large",
          next: "Split it, and submit the parts one after the other",
        }),
    );
  } catch (cause) {
    if (cause instanceof UserError) throw cause;
    throw new UserError(`Cannot read the lines of "${name}": ${reasonOf(cause)}`, { cause });
  }
}

function decoded(bytes: Uint8Array, shown: string): string {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch (cause) {
    throw new UserError(`${shown} is not text in UTF-8`, {
      next: "Convert it, for example with iconv -t utf-8",
      cause,
    });
  }
}
