import type { Env } from "../base/env.ts";
import { selfCommand } from "../base/self.ts";
import type { Config } from "../config/schema.ts";
import { readTlsSettings, tlsRoot } from "../pki/directory/settings.ts";
import { Cgroups } from "../runner/cgroups.ts";
import { tasksCanRead } from "../runner/exposure.ts";
import { homeOf, openWorkerDirectory } from "../runner/folders.ts";
import { allowedPrograms } from "../runner/program.ts";
import { Runner } from "../runner/runner.ts";
import { findTaskUser, type TaskUser } from "../runner/user.ts";
import { aborted } from "../base/lifetimes.ts";
import { lineVariable } from "../tasks/lines.ts";
import { leaseTimes, limits } from "../tasks/limits.ts";
import { outputWindowBytes, type Report, type RunnerReady } from "../tasks/orders.ts";

/** The umask that most systems set at login. */
const taskUmask = 0o022;

/**
 * The main thread of a worker: starts and ends processes of tasks, as the role orders through the
 * port, until the role has ended.
 */
export async function serveRunner(port: MessagePort, config: Config, env: Env): Promise<void> {
  const { values } = config;
  // Of tasks; what the worker itself creates has explicit modes.
  if (Deno.build.os !== "windows") Deno.umask(taskUmask);
  const user = await findTaskUser(values["worker.user"]);
  using folder = await openWorkerDirectory(values["worker.data_dir"], user);
  using cgroups = await Cgroups.open(`agent-${folder.mark}`, env.log);
  const allowed = values["worker.allow_commands"];
  const self = selfCommand();
  let isReady = false;
  await using runner = await Runner.start({
    folder,
    user,
    cgroups,
    endsOrphans: cgroups === undefined,
    allowed: allowed === undefined ? undefined : allowedPrograms(allowed),
    // The line of an array's element is data, which no program takes for more.
    allowedVariables: new Set([lineVariable, ...values["worker.allow_env"] ?? []]),
    guardian: { command: self.command, args: [...self.args, "guardian"] },
    taskFiles: { command: self.command, args: [...self.args, "task-files"] },
    clock: env.clock,
    log: env.log,
    variable: env.variable,
    // Until the role sends orders, the runner only reports that it works.
    report: (reports, transfer) => isReady && port.postMessage(reports, transfer),
    bounds: {
      guardianMs: leaseTimes.guardianMs,
      windowBytes: outputWindowBytes,
      maxArtifacts: limits.maxArtifactsPerAttempt,
    },
  });
  const warnings = await exposures(env, user);
  for (const warning of warnings) env.log.warn(warning);
  const ready: RunnerReady = {
    kind: "ready",
    instance: runner.instance,
    home: await homeOf(folder),
    warnings,
  };
  port.onmessage = ({ data }) => runner.obey(data);
  port.postMessage(ready);
  isReady = true;
  const retire = () => port.postMessage([{ kind: "retire" } satisfies Report]);
  // SIGUSR1 would open the debugger's port.
  if (Deno.build.os !== "windows") Deno.addSignalListener("SIGUSR2", retire);
  try {
    await aborted(env.signal);
  } finally {
    if (Deno.build.os !== "windows") Deno.removeSignalListener("SIGUSR2", retire);
  }
}

/** Warnings about files that tasks can read and should not. */
async function exposures(env: Env, user: TaskUser): Promise<string[]> {
  const { caKey } = await readTlsSettings(tlsRoot(env));
  if (!tasksCanRead(caKey, user)) return [];
  return [
    `Tasks run as "${user.name}", who can read the CA key "${caKey}"; ` +
    "run them as another user with worker.user",
  ];
}
