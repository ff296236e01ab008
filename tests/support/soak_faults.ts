/** The faults of a soak: processes killed and stopped, connections cut, threads held, a disk filled. */
import { join } from "node:path";
import { leaseTimes } from "../../src/tasks/limits.ts";
import type { Cluster, ClusterWorker } from "./cluster.ts";
import { eventually } from "./eventually.ts";
import type { Forwarder } from "./forwarder.ts";
import { holdMainThread } from "./hold_thread.ts";
import type { Random } from "./random.ts";

export interface SoakHost {
  link: Forwarder;
  worker: ClusterWorker;
}

export interface FaultsOptions {
  cluster: Cluster;
  hosts: SoakHost[];
  chance: Random;
  /** Longest stop. */
  longestMs: number;
  pauseMs: { least: number; most: number };
  /** File system of the coordinator's data, if it may be filled. */
  disk: string | undefined;
  /** Only the network fails. */
  gentle?: boolean;
  say: (line: string) => void;
}

type Fault = [name: string, act: () => Promise<void>];

const shortestMs = 300;

/** On a busy machine the guardian and the kernel need a while for what they do at once. */
const guardianSlackMs = 20_000;

/** From a runner that stopped answering to the end of the session: see silenceMs of both sides. */
const unheardMs = 15_000;

/** Random faults, one after the other. */
export class Faults {
  readonly counts: Record<string, number> = {};
  /** Processes of tasks that a guardian ended. */
  guarded = 0;

  constructor(private readonly options: FaultsOptions) {}

  /** @throws where what has to follow a fault does not. */
  async run(over: AbortSignal): Promise<void> {
    const { chance, hosts, pauseMs, say } = this.options;
    while (!over.aborted) {
      await pause(pauseMs.least + chance.below(pauseMs.most - pauseMs.least));
      if (over.aborted) return;
      const host = chance.pick(hosts);
      const [name, act] = chance.pick([...this.#network(host), ...this.#hard(host)]);
      say(`soak: ${name} ${hosts.indexOf(host)}`);
      this.counts[name] = (this.counts[name] ?? 0) + 1;
      await act();
    }
  }

  #network({ link }: SoakHost): Fault[] {
    return [
      ["cut the link", () => Promise.resolve(link.cut())],
      ["hold the link", async () => {
        link.hold();
        await pause(this.#stopMs());
        link.resume();
      }],
    ];
  }

  #hard({ worker }: SoakHost): Fault[] {
    const { cluster, disk, gentle, longestMs } = this.options;
    if (gentle) return [];
    const all: Fault[] = [
      ["kill the worker", () => worker.restart()],
      ["kill the worker for a while", async () => {
        const tasks = (await worker.processes()).length;
        worker.role.kill();
        await worker.role.exit;
        await this.#guardianActs(worker, tasks);
        await pause(this.#stopMs());
        await worker.restart();
      }],
      ["stop the worker", () => this.#stopped(worker.role.pid, () => worker)],
      ["kill the guardian", () => this.#killGuardian(worker)],
      ["kill the coordinator", () => cluster.restartCoordinator("kill")],
      ["restart the coordinator", () => cluster.restartCoordinator("stop")],
      ["stop the coordinator", () => this.#stopped(cluster.coordinator.pid)],
    ];
    if (longestMs > leaseTimes.guardianMs) {
      all.push(["hold the runner", () => this.#holdRunner(worker)]);
    }
    if (disk !== undefined) {
      all.push(
        ["fill the disk", () => this.#filled(disk, () => Promise.resolve())],
        ["kill the coordinator on a full disk", async () => {
          await this.#filled(disk, () => cluster.restartCoordinator("kill"));
        }],
      );
    }
    return all;
  }

  async #stopped(pid: number, worker?: () => ClusterWorker): Promise<void> {
    const ms = this.#stopMs();
    const tasks = (await worker?.().processes())?.length ?? 0;
    signal(pid, "SIGSTOP");
    try {
      await pause(ms);
      if (worker !== undefined && ms > leaseTimes.guardianMs) {
        await this.#guardianActs(worker(), tasks);
      }
    } finally {
      signal(pid, "SIGCONT");
    }
  }

  /** @param tasks number of its processes before. */
  async #guardianActs(worker: ClusterWorker, tasks: number): Promise<void> {
    await eventually(guardianSlackMs, async () => {
      const left = await worker.processes();
      if (left.length === 0) return true;
      throw new Error(`The guardian of ${worker.dataDir} has not ended the processes ${left}`);
    });
    this.guarded += tasks;
  }

  /** Until there is another one: without any guardian a worker that is killed cannot keep its promise. */
  async #killGuardian(worker: ClusterWorker): Promise<void> {
    const guardian = await worker.guardian();
    signal(guardian, "SIGKILL");
    await eventually(guardianSlackMs, async () => await worker.guardian() !== guardian);
  }

  /** The worker's main thread stands still while its connection lives: it may renew no lease. */
  async #holdRunner(worker: ClusterWorker): Promise<void> {
    const { cluster, hosts } = this.options;
    const id = `w${hosts.findIndex((host) => host.worker === worker)}`;
    const tasks = (await worker.processes()).length;
    await using _held = await holdMainThread(worker.role.pid);
    await pause(leaseTimes.guardianMs);
    await this.#guardianActs(worker, tasks);
    await eventually(unheardMs, async () => {
      const found = (await cluster.tasks.listWorkers()).find((each) => each.id === id);
      if (found?.connected === false) return true;
      throw new Error(`${id} is ${found?.health} and connected while its runner does not work`);
    });
    await pause(this.#stopMs());
  }

  async #filled(folder: string, meanwhile: () => Promise<void>): Promise<void> {
    const path = join(folder, "filler");
    const file = await Deno.open(path, { write: true, create: true });
    try {
      const block = new Uint8Array(1024 * 1024);
      // Down to the last page, in ever smaller pieces.
      for (let size = block.length; size >= 4096;) {
        try {
          await file.write(block.subarray(0, size));
        } catch {
          size /= 4;
        }
      }
      await meanwhile();
      await pause(this.#stopMs());
    } finally {
      file.close();
      await Deno.remove(path);
    }
  }

  /** Short stops are more frequent, as in practice. */
  #stopMs(): number {
    const share = this.options.chance.below(1_000) / 1_000;
    return shortestMs + share ** 3 * (this.options.longestMs - shortestMs);
  }
}

function signal(pid: number, name: Deno.Signal): void {
  try {
    Deno.kill(pid, name);
  } catch (error) {
    // It has ended by itself.
    if (!(error instanceof Deno.errors.NotFound || error instanceof TypeError)) throw error;
  }
}

export function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
