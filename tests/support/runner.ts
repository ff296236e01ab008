/** A runner with its own folder, for the tests of src/runner. */
import { systemClock } from "../../src/base/clock.ts";
import { slowness } from "./eventually.ts";
import { silentLog } from "./silent_log.ts";
import {
  attemptKey,
  type Order,
  outputWindowBytes,
  type Report,
  type StartOrder,
} from "../../src/tasks/orders.ts";
import { openWorkerDirectory } from "../../src/runner/folders.ts";
import { Runner } from "../../src/runner/runner.ts";
import type { RunnerOptions } from "../../src/runner/runner_options.ts";
import { findTaskUser } from "../../src/runner/user.ts";

const taskFilesCommand = {
  command: Deno.execPath(),
  args: [
    "eval",
    "--no-config",
    `import { serveTaskFiles } from "${new URL(
      "../../src/runner/task_files_process.ts",
      import.meta.url,
    )}";
    serveTaskFiles(Deno.args[0]);`,
  ],
};

type Exited = Extract<Report, { kind: "exited" }>;

/** A runner of its own, whose output is taken at once. */
export async function startRunner(
  options: Partial<RunnerOptions> & { hungry?: boolean; path?: string } = {},
) {
  const open = new AsyncDisposableStack();
  const path = options.path ?? await Deno.makeTempDir({ prefix: "agent-runner-" });
  if (options.path === undefined) open.defer(() => Deno.remove(path, { recursive: true }));
  const user = await findTaskUser(undefined);
  const folder = open.use(await openWorkerDirectory(path, user));
  const reports: Report[] = [];
  let heard = () => {};
  const runner: Runner = open.use(
    await Runner.start({
      folder,
      user,
      // They are of the whole process, which other tests use as well: see tests/scenario.
      cgroups: undefined,
      // The tests of other files run in this process, and have children of their own.
      endsOrphans: false,
      allowed: undefined,
      allowedVariables: new Set(),
      guardian: { command: "/nonexistent", args: [] },
      taskFiles: taskFilesCommand,
      clock: systemClock,
      log: silentLog,
      bounds: { guardianMs: 4_000, windowBytes: outputWindowBytes, maxArtifacts: 100 },
      variable: (name) => name === "LANG" ? "C" : undefined,
      report: (batch) => {
        reports.push(...structuredClone(batch.filter(({ kind }) => kind !== "alive")));
        for (const report of batch) {
          if (report.kind !== "output" || options.hungry === false) continue;
          const { key, stream, data } = report;
          runner.obey({ kind: "taken", key, stream, bytes: data.length });
        }
        heard();
      },
      ...options,
    }),
  );
  const renew = (forMs = 60_000) =>
    runner.obey({ kind: "renew", lease: "c", forMs, sentAt: Date.now() });
  renew();
  let fence = 0;
  const until = async <R>(
    find: () => R | undefined | Promise<R | undefined>,
    withinMs = 15_000,
  ): Promise<R> => {
    const began = performance.now();
    while (true) {
      const found = await find();
      if (found !== undefined) return found;
      if (performance.now() - began > withinMs * slowness()) {
        throw new Error(`not within ${withinMs} ms`);
      }
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, 50);
        heard = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
  };
  return {
    runner,
    folder,
    reports,
    renew,
    until,
    obey: (order: Order) => runner.obey(order),
    start(argv: string[], rest: Partial<StartOrder> = {}): string {
      const key = attemptKey({ taskId: "t1.7", attempt: 1, fence: ++fence });
      const empty = { arrayIndex: undefined, cwd: undefined, timeoutMs: undefined };
      const order = { kind: "start", key, lease: "c", taskId: "t1", argv, env: {}, artifacts: [] };
      runner.obey({ ...order, ...empty, ...rest });
      return key;
    },
    exited: (key: string) =>
      until(() => reports.find((it): it is Exited => it.kind === "exited" && it.key === key)),
    output(key: string, stream = "stdout"): string {
      const parts = reports.flatMap((it) =>
        it.kind === "output" && it.key === key && it.stream === stream ? [...it.data] : []
      );
      return new TextDecoder().decode(new Uint8Array(parts));
    },
    mark: `${folder.mark}.`,
    [Symbol.asyncDispose]: () => open.disposeAsync(),
  };
}
