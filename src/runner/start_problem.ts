import { messageOf } from "../base/errors.ts";
import { launch } from "./launch.ts";
import { defaultPath } from "./program.ts";
import { CannotStart, type StartRules } from "./task_start.ts";
import { readAll, type TaskProcess } from "./task_process.ts";

/**
 * Starts a small program with the same steps as a task's, and lets it write a file.
 *
 * @param makeFolder makes its working folder.
 * @param started called with its process.
 * @returns why no task can be started on this host; undefined if tasks can be.
 */
export async function startProblem(
  { launcher, user }: StartRules,
  makeFolder: () => string,
  started: (process: TaskProcess) => void,
): Promise<string | undefined> {
  try {
    const line = { program: "/bin/sh", args: ["-c", ": >written"], env: { PATH: defaultPath } };
    const process = launch(launcher, { ...line, folder: makeFolder(), isOwn: true, user });
    started(process);
    const outputs = Promise.all([readAll(process.stderr), readAll(process.stdout)]);
    const [{ exitCode }, [stderr]] = await Promise.all([process.ended, outputs]);
    return exitCode === 0
      ? undefined
      : new TextDecoder().decode(stderr).trim() || "a program cannot start";
  } catch (error) {
    return error instanceof CannotStart ? error.reason : messageOf(error);
  }
}
