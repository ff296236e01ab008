import { reapChildren } from "../base/child_processes.ts";
import type { Env } from "../base/env.ts";
import { UserError } from "../base/errors.ts";
import { ignoredSignals, keepDescriptors, resetSignals, signals } from "../base/libc.ts";

/** How often PID 1 takes the exit statuses of orphans. */
const reapEveryMs = 1_000;

/**
 * Cleans up what the process inherited, before a role starts anything: ignored signals would stay ignored
 * in every task, and every task could read open files. As PID 1 it
 * reaps orphans, until disposed of.
 *
 * @param startsTasks whether the role starts processes; it then reaps orphans itself.
 * @throws {UserError} if no exit code of a process can be read.
 */
export function cleanProcess({ log }: Pick<Env, "log">, startsTasks: boolean): Disposable {
  const ignored = ignoredSignals();
  // The runtime ignores SIGPIPE, but children get its default action; main.ts handles SIGHUP.
  resetSignals(ignored.filter((number) => number !== signals.SIGHUP && number !== signals.SIGPIPE));
  if (ignored.includes(signals.SIGHUP)) {
    // Started by nohup. A signal that has a handler has its default action in children.
    Deno.addSignalListener(
      "SIGHUP",
      () => log.info("ignoring SIGHUP, as inherited from the parent process"),
    );
  }
  if (startsTasks && ignoredSignals().includes(signals.SIGCHLD)) {
    throw new UserError("This process was started with SIGCHLD ignored, so exit codes are lost", {
      next: "Start it with the default action: env --default-signal=CHLD agent worker …",
    });
  }
  if (!keepDescriptors() && startsTasks && Deno.build.os === "linux") {
    log.warn("tasks inherit files that were open when this process was started");
  }
  if (Deno.pid !== 1 || startsTasks) return { [Symbol.dispose]: () => {} };
  const timer = setInterval(reapChildren, reapEveryMs);
  return { [Symbol.dispose]: () => clearInterval(timer) };
}
