/**
 * A mixed load on a coordinator and several workers while they are killed, stopped and cut off at
 * random. Every accepted task must end as the guarantees say.
 */
import assert from "node:assert/strict";
import { join } from "node:path";
import { TaskError } from "../../src/tasks/service.ts";
import { isFinished, type Task, type TaskSpec } from "../../src/tasks/task.ts";
import {
  type Cluster,
  type ClusterWorker,
  overlaps,
  startCluster,
  tracedScript,
} from "./cluster.ts";
import { eventually } from "./eventually.ts";
import { forward, type Forwarder } from "./forwarder.ts";
import { type MemorySample, sampleMemory } from "./memory.ts";
import { type Random, random } from "./random.ts";

export interface SoakOptions {
  /** Duration of load and faults; the check follows. */
  forMs: number;
  seed?: number;
  workers?: number;
  /** Called for each fault, and once a minute with the progress. */
  say: (line: string) => void;
}

export interface SoakReport {
  seed: number;
  accepted: number;
  succeeded: number;
  /** Tasks that were given up after too many lost attempts. */
  lost: number;
  lostAttempts: number;
  faults: Record<string, number>;
  memory: MemorySample[];
}

/** Time to finish all tasks after the last fault. */
const settleMs = 120_000;
const betweenFaultsMs = { least: 300, most: 2_500 };
/** From under a heartbeat to longer than a lease; at most a quarter of the whole run. */
const stopMs = { least: 300, most: 20_000 };
/** A task must not be given up with fewer lost attempts. */
const fewestLosses = 3;
/** Limit of open tasks, so that the load adapts to the speed of the cluster. */
const mostOpen = 60;

/** A kind of task and its expected result. */
interface Kind {
  spec: (id: string, folder: string) => Partial<TaskSpec> & { script: string };
  exitCode: number;
  stdout?: (id: string) => string;
  artifact?: (id: string) => string;
}

const kinds: Record<string, Kind> = {
  short: {
    spec: (id) => ({ script: `echo ${id}` }),
    exitCode: 0,
    stdout: (id) => `${id}\n`,
  },
  fails: {
    spec: (id) => ({ script: `echo ${id}; exit 7` }),
    exitCode: 7,
    stdout: (id) => `${id}\n`,
  },
  talks: {
    spec: (id) => ({ script: `seq -f '${id} %g' 5000` }),
    exitCode: 0,
    stdout: (id) => Array.from({ length: 5_000 }, (_, at) => `${id} ${at + 1}\n`).join(""),
  },
  drips: {
    spec: (id) => ({ script: `for i in $(seq 30); do seq -f '${id} %g' 300; sleep 0.1; done` }),
    exitCode: 0,
    stdout: (id) => Array.from({ length: 300 }, (_, at) => `${id} ${at + 1}\n`).join("").repeat(30),
  },
  lasts: {
    spec: (id, folder) => ({ script: `${tracedScript(folder, 30)}; echo ${id}` }),
    exitCode: 0,
    stdout: (id) => `${id}\n`,
  },
  leaves: {
    spec: (id) => ({
      script: `mkdir out; for i in $(seq 5000); do echo ${id}; done >out/file`,
      artifacts: ["out/*"],
    }),
    exitCode: 0,
    artifact: (id) => `${id}\n`.repeat(5_000),
  },
  retries: {
    spec: (id, folder) => ({
      script: `mkdir ${join(folder, id)} && exit 1; echo ${id}`,
      // If a lost attempt made the folder, no attempt fails; if it made none, one more fails.
      retries: 3,
    }),
    exitCode: 0,
    stdout: (id) => `${id}\n`,
  },
};

interface Accepted {
  id: string;
  name: string;
  kind: Kind;
}

/** @throws {assert.AssertionError} where a guarantee does not hold; the seed was said before. */
export async function soak(options: SoakOptions): Promise<SoakReport> {
  const chance = random(options.seed);
  options.say(`soak: seed ${chance.seed}`);
  await using cluster = await startCluster();
  await using open = new AsyncDisposableStack();
  const port = Number(cluster.coordinator.address.split(":").at(-1));
  const hosts = await Promise.all(
    Array.from({ length: options.workers ?? 3 }, async (_, at) => {
      const link = open.use(await forward(port));
      return { link, worker: await cluster.startWorker({ id: `w${at}`, dial: link.address }) };
    }),
  );
  const over = AbortSignal.timeout(options.forMs);
  const longestMs = Math.min(stopMs.most, options.forMs / 4);
  const faults = new Faults(cluster, hosts, chance, longestMs, options.say);
  const memory = sampleMemory(() => [
    ["coordinator", cluster.coordinator.pid],
    ...hosts.map(({ worker }, at) => [`w${at}`, worker.role.pid] as [string, number]),
  ], over);
  const [accepted] = await Promise.all([
    load(cluster, chance, over, options.say),
    faults.run(over),
  ]);
  const outcome = await verify(cluster, accepted, options.say);
  return { seed: chance.seed, ...outcome, faults: faults.counts, memory: await memory };
}

/** Submits random tasks until the time is over, each with an idempotency key. */
async function load(
  cluster: Cluster,
  chance: Random,
  over: AbortSignal,
  say: (line: string) => void,
): Promise<Accepted[]> {
  const accepted: Accepted[] = [];
  const unfinished = new Set<string>();
  let saidAt = performance.now();
  for (let number = 0; !over.aborted; number++) {
    const kind = chance.pick(Object.values(kinds));
    const name = `task${number}`;
    accepted.push({ name, kind, id: await submitOnce(cluster, kind, name) });
    unfinished.add(accepted.at(-1)!.id);
    while (unfinished.size >= mostOpen && !over.aborted) {
      await pause(200);
      await settleFinished(cluster, unfinished);
    }
    if (performance.now() - saidAt < 60_000) continue;
    saidAt = performance.now();
    say(`soak: ${accepted.length} tasks accepted`);
  }
  return accepted;
}

/** Retries while the coordinator is away; the key prevents a second task. */
async function submitOnce(cluster: Cluster, kind: Kind, name: string): Promise<string> {
  const { script, ...more } = kind.spec(name, cluster.folder);
  const spec: TaskSpec = {
    ...{ argv: ["sh", "-c", script], env: {}, cwd: undefined, selector: {}, timeoutMs: undefined },
    ...{ artifacts: [], retries: 0, retryDelayMs: 0 },
    ...more,
  };
  return await whileAway(async () => {
    return (await cluster.tasks.submit(spec, { idempotencyKey: name })).id;
  });
}

async function settleFinished(cluster: Cluster, unfinished: Set<string>): Promise<void> {
  await whileAway(async () => {
    const states = ["queued", "running"] as const;
    const { tasks } = await cluster.tasks.listTasks({ states: [...states], limit: 1_000 });
    const open = new Set(tasks.map(({ id }) => id));
    for (const id of unfinished) if (!open.has(id)) unfinished.delete(id);
  });
}

/** Retries while the coordinator is away; any other error is thrown. */
async function whileAway<T>(call: () => Promise<T>): Promise<T> {
  return await eventually(settleMs, async () => {
    try {
      return { answer: await call() };
    } catch (error) {
      if (error instanceof TaskError && error.code === "unavailable") return undefined;
      return { error };
    }
  }).then((settled) => {
    if ("error" in settled) throw settled.error;
    return settled.answer;
  });
}

interface SoakHost {
  link: Forwarder;
  worker: ClusterWorker;
}

/** Random faults, one after the other. */
class Faults {
  readonly counts: Record<string, number> = {};

  constructor(
    readonly cluster: Cluster,
    readonly hosts: SoakHost[],
    readonly chance: Random,
    readonly longestMs: number,
    readonly say: (line: string) => void,
  ) {}

  async run(over: AbortSignal): Promise<void> {
    while (!over.aborted) {
      await pause(this.#between(betweenFaultsMs));
      if (over.aborted) return;
      const host = this.chance.pick(this.hosts);
      const [name, act] = this.chance.pick(this.#all(host));
      this.say(`soak: ${name} ${this.hosts.indexOf(host)}`);
      this.counts[name] = (this.counts[name] ?? 0) + 1;
      await act();
    }
  }

  #all({ worker, link }: SoakHost): [name: string, act: () => Promise<void>][] {
    const { cluster } = this;
    return [
      ["kill the worker", () => worker.restart()],
      ["stop the worker", () => this.#stopped(() => worker.role.pid)],
      ["kill the guardian", async () => signal(await worker.guardian(), "SIGKILL")],
      ["cut the link", () => Promise.resolve(link.cut())],
      ["hold the link", async () => {
        link.hold();
        await pause(this.#stopMs());
        link.resume();
      }],
      ["kill the coordinator", () => cluster.restartCoordinator("kill")],
      ["restart the coordinator", () => cluster.restartCoordinator("stop")],
      ["stop the coordinator", () => this.#stopped(() => cluster.coordinator.pid)],
    ];
  }

  async #stopped(pid: () => number): Promise<void> {
    const stopped = pid();
    signal(stopped, "SIGSTOP");
    try {
      await pause(this.#stopMs());
    } finally {
      signal(stopped, "SIGCONT");
    }
  }

  /** Short stops are more frequent, as in practice. */
  #stopMs(): number {
    const share = this.chance.below(1_000) / 1_000;
    return stopMs.least + share ** 3 * (this.longestMs - stopMs.least);
  }

  #between({ least, most }: { least: number; most: number }): number {
    return least + this.chance.below(most - least);
  }
}

/** Compares every accepted task with its expected result. */
async function verify(cluster: Cluster, accepted: Accepted[], say: (line: string) => void) {
  say(`soak: faults are over, checking ${accepted.length} tasks`);
  const counts = { accepted: accepted.length, succeeded: 0, lost: 0, lostAttempts: 0 };
  assert.equal(
    new Set(accepted.map(({ id }) => id)).size,
    accepted.length,
    "one task for each key",
  );
  const endMs = performance.now() + settleMs;
  for (const { id, name, kind } of accepted) {
    const task = await eventually(Math.max(1_000, endMs - performance.now()), async () => {
      const [found] = await cluster.tasks.getTask(id);
      if (found !== undefined && isFinished(found.state)) return found;
      throw new Error(`${name} (${id}) is still ${found?.state} long after the last fault`);
    });
    counts.lostAttempts += task.attempts.filter(({ state }) => state === "lost").length;
    if (task.state === "lost") {
      counts.lost++;
      const lost = task.attempts.filter(({ state }) => state === "lost").length;
      assert.ok(lost >= fewestLosses, `${name} was given up after ${lost} lost attempts`);
      continue;
    }
    await verifyTask(cluster, task, name, kind);
    if (task.state === "succeeded") counts.succeeded++;
  }
  assert.deepEqual(await overlapsOf(cluster), [], "two attempts of one task ran at the same time");
  assert.ok(counts.lost <= accepted.length / 50, `${counts.lost} tasks were given up as lost`);
  return counts;
}

async function verifyTask(cluster: Cluster, task: Task, name: string, kind: Kind): Promise<void> {
  const last = task.attempts.at(-1)!;
  assert.equal(last.exitCode, kind.exitCode, `${name}: ${task.state}, ${task.reason}`);
  assert.equal(task.state, kind.exitCode === 0 ? "succeeded" : "failed", name);
  const signal = AbortSignal.timeout(60_000);
  if (kind.stdout !== undefined) {
    const pieces: Uint8Array[] = [];
    const query = { taskId: task.id, attempt: last.attempt };
    for await (const { stream, data } of cluster.tasks.readLog(query, signal)) {
      if (stream === "stdout") pieces.push(data);
    }
    await assertSame(pieces, kind.stdout(name), `the log of ${name}`);
  }
  if (kind.artifact !== undefined) {
    const pieces: Uint8Array[] = [];
    const query = { taskId: task.id, attempt: last.attempt, path: "out/file" };
    for await (const { data } of cluster.tasks.readArtifact(query, signal)) pieces.push(data);
    await assertSame(pieces, kind.artifact(name), `the artifact of ${name}`);
  }
}

async function assertSame(pieces: Uint8Array[], expected: string, what: string): Promise<void> {
  const text = await new Blob(pieces as Uint8Array<ArrayBuffer>[]).text();
  if (text === expected) return;
  const at = [...expected].findIndex((char, index) => char !== text[index]);
  assert.fail(`${what} has ${text.length} bytes of ${expected.length}, differs from ${at} on`);
}

async function overlapsOf(cluster: Cluster): Promise<string[]> {
  const traced = await Deno.stat(join(cluster.folder, "trace")).then(() => true, () => false);
  return traced ? await overlaps(cluster.folder) : [];
}

function signal(pid: number, name: Deno.Signal): void {
  try {
    Deno.kill(pid, name);
  } catch (error) {
    // It has ended by itself.
    if (!(error instanceof Deno.errors.NotFound || error instanceof TypeError)) throw error;
  }
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
