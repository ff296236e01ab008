import type { Env } from "../base/env.ts";
import { UsageError, UserError } from "../base/errors.ts";
import { readAtMost } from "./read_stdin.ts";

/** As of a file: a bundle of all public CAs has 250 KB. */
const maxBytes = 1024 * 1024;

/** How a command line names standard input. */
export const inputName = "-";

/** The text of standard input where a file of certificates is named `-`; undefined for a real file. */
export async function certificatesInput(
  { stdin }: Pick<Env, "stdin">,
  name: string | undefined,
): Promise<string | undefined> {
  if (name !== inputName) return undefined;
  if (stdin.isTerminal) {
    throw new UsageError("Standard input is a terminal, where a certificate was to come", {
      next: "Pipe it in: ssh HOST agent tls export-ca | agent tls import-ca -",
    });
  }
  const tooLarge = () =>
    new UserError("Standard input is longer than 1 MiB", { code: "too_large" });
  return new TextDecoder().decode(await readAtMost(stdin.readable, maxBytes, tooLarge));
}
