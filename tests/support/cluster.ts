import { join } from "node:path";
import { systemClock } from "../../src/base/clock.ts";
import { silentLog } from "./silent_log.ts";
import { dialCoordinator } from "../../src/peer/client.ts";
import { findLeftoverProcesses } from "../../src/runner/leftover_processes.ts";
import type { TaskService } from "../../src/tasks/service.ts";
import { isFinished, type Task, type TaskSpec } from "../../src/tasks/task.ts";
import { agent, type Running } from "./agent.ts";
import { eventually } from "./eventually.ts";
import { tempHome } from "./home.ts";

/** A coordinator and workers of the program under test, in a home of their own, without TLS. */
export interface Cluster extends AsyncDisposable {
  folder: string;
  coordinator: Running;
  tasks: TaskService;
  /** Kills or stops the coordinator, and starts it again on the same port. */
  restartCoordinator(how?: "kill" | "stop"): Promise<void>;
  startWorker(options?: WorkerSettings): Promise<ClusterWorker>;
  submit(script: string, spec?: Partial<TaskSpec>, array?: number): Promise<string>;
  /** Waits until all elements have finished. */
  finished(id: string, withinMs?: number): Promise<Task[]>;
  /** Waits until the task has a process. */
  started(id: string): Promise<void>;
}

export interface WorkerSettings {
  id?: string;
  slots?: number;
  /** Address to dial instead of the coordinator's own. */
  dial?: string;
  dataDir?: string;
  /** 0, the default: no health endpoint. */
  healthPort?: number;
  args?: string[];
  /** Programs to start it through, for a state that it is to inherit. */
  through?: string[];
}

export interface ClusterWorker {
  role: Running;
  dataDir: string;
  /** Process ids of its tasks. */
  processes(): Promise<number[]>;
  guardian(): Promise<number>;
  /** Kills it and starts it again with the same data folder. */
  restart(): Promise<void>;
}

/** @param options.coordinator further flags of the coordinator. */
export async function startCluster(
  { coordinator: flags = [] }: { coordinator?: string[] } = {},
): Promise<Cluster> {
  const open = new AsyncDisposableStack();
  const home = open.use(await tempHome());
  const folder = join(home.path, "marks");
  await Deno.mkdir(folder);
  const anywhere = ["--coordinator.port=0", "--coordinator.health-port=0", ...flags];
  let coordinator = await agent.start("coordinator", anywhere, { home });
  open.defer(() => coordinator[Symbol.asyncDispose]());
  const { address } = coordinator;
  const env = { clock: systemClock, log: silentLog };
  const { tasks } = open.use(await dialCoordinator(address, { mode: "h2c" }, env));
  const port = address.split(":").at(-1);
  return {
    folder,
    tasks,
    get coordinator() {
      return coordinator;
    },
    async restartCoordinator(how = "kill") {
      if (how === "stop") await coordinator.stop();
      else coordinator.kill();
      await coordinator.exit;
      const same = [`--coordinator.port=${port}`, "--coordinator.health-port=0", ...flags];
      coordinator = await agent.start("coordinator", same, { home });
    },
    async startWorker(
      { id = "w1", slots = 4, dial = address, dataDir = join(home.path, id), ...settings } = {},
    ) {
      const { healthPort = 0, args = [], through = [] } = settings;
      const start = () =>
        agent.start("worker", [
          `--worker.coordinators=${dial}`,
          `--worker.id=${id}`,
          `--worker.slots=${slots}`,
          `--worker.health-port=${healthPort}`,
          `--worker.data-dir=${dataDir}`,
          ...args,
        ], { home, through });
      let role = await start();
      open.defer(() => role[Symbol.asyncDispose]());
      const mark = await Deno.readTextFile(join(dataDir, "mark"));
      return {
        get role() {
          return role;
        },
        dataDir,
        processes: async () => (await findLeftoverProcesses(`${mark}.`)).map(({ pid }) => pid),
        guardian: () => guardianOf(role.pid, mark),
        async restart() {
          role.kill();
          await role.exit;
          role = await start();
        },
      };
    },
    async submit(script, spec, array) {
      const empty = { env: {}, cwd: undefined, selector: {}, timeoutMs: undefined, artifacts: [] };
      const submitted = await tasks.submit(
        { argv: ["sh", "-c", script], ...empty, retries: 0, retryDelayMs: 0, ...spec },
        array === undefined ? {} : { array: { first: 1, last: array } },
      );
      return submitted.id;
    },
    finished: (id, withinMs = 60_000) =>
      eventually(withinMs, async () => {
        const all = await tasks.getTask(id);
        return all.every(({ state }) => isFinished(state)) ? all : undefined;
      }),
    async started(id) {
      await eventually(30_000, async () => {
        const [task] = await tasks.getTask(id);
        return task?.state === "running" && task.attempts.at(-1)?.startedAt !== undefined;
      });
    },
    [Symbol.asyncDispose]: () => open.disposeAsync(),
  };
}

/** The guardian is the worker's child that carries the worker's mark on its command line. */
async function guardianOf(worker: number, mark: string): Promise<number> {
  return await eventually(30_000, () => {
    // At once: on a busy machine hundreds of asynchronous reads take longer than a guardian lives.
    for (const { name } of Deno.readDirSync("/proc")) {
      if (!/^\d+$/.test(name)) continue;
      try {
        const line = Deno.readTextFileSync(`/proc/${name}/cmdline`);
        const status = Deno.readTextFileSync(`/proc/${name}/status`);
        if (line.includes(`${mark}.`) && status.includes(`PPid:\t${worker}\n`)) return Number(name);
      } catch (error) {
        // It has just ended.
        if (!(error instanceof Deno.errors.NotFound) && !isGone(error)) throw error;
      }
    }
    return undefined;
  });
}

/** ESRCH: the process ended after its file was opened and before it was read. */
function isGone(error: unknown): boolean {
  return error instanceof Error && /No such process/.test(error.message);
}

/** Script of a task that leaves a trace: a line every 50 ms, or as given, which shows when it ran. */
export function tracedScript(folder: string, lines: number, everySeconds = 0.05): string {
  return `for i in $(seq ${lines}); do echo "$AGENT_TASK_ID $AGENT_ATTEMPT $(date +%s%N)"; ` +
    `sleep ${everySeconds}; done >> ${folder}/trace; echo "$AGENT_TASK_ID $AGENT_ATTEMPT end" >> ${folder}/ends`;
}

/** Tasks with two attempts that ran at the same time, according to their traces. */
export async function overlaps(folder: string): Promise<string[]> {
  const lives = new Map<string, Map<string, { first: bigint; last: bigint }>>();
  for (const line of (await Deno.readTextFile(`${folder}/trace`)).split("\n")) {
    const [task, attempt, at] = line.split(" ");
    // A killed task may leave an incomplete line.
    if (!task || !attempt || !at || !/^\d{19}$/.test(at)) continue;
    const attempts = lives.get(task) ?? new Map();
    lives.set(task, attempts);
    const life = attempts.get(attempt) ?? { first: BigInt(at), last: BigInt(at) };
    if (BigInt(at) > life.last) life.last = BigInt(at);
    attempts.set(attempt, life);
  }
  const found: string[] = [];
  for (const [task, attempts] of lives) {
    const ordered = [...attempts.values()].sort((a, b) => a.first < b.first ? -1 : 1);
    ordered.forEach((life, at) => {
      const next = ordered[at + 1];
      if (next !== undefined && next.first <= life.last) found.push(task);
    });
  }
  return found;
}
