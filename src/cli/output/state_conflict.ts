import type { Env } from "../../base/env.ts";
import { UserError } from "../../base/errors.ts";
import { TaskError } from "../../tasks/service.ts";
import { forPerson } from "../connect.ts";

/**
 * Runs a conditional change. On a conflict, the current revision goes to stdout, so that a script can
 * try again, and the error to stderr.
 */
export async function orConflict<T>(
  { env, json, key }: { env: Env; json: boolean; key: string },
  change: () => Promise<T>,
): Promise<T> {
  try {
    return await change();
  } catch (error) {
    const revision = error instanceof TaskError && error.code === "conflict"
      ? error.revision
      : undefined;
    if (revision === undefined) throw error;
    const shown = json ? JSON.stringify({ current_revision: revision }) : String(revision);
    await env.stdout.write(`${shown}\n`);
    if (revision > 0) {
      throw forPerson(
        error as TaskError,
        `Read it again, then retry with --if-revision ${revision}`,
      );
    }
    throw new UserError(`The key "${key}" does not exist`, { code: "conflict", cause: error });
  }
}
