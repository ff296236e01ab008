/**
 * A mixed load on a coordinator and several workers while they are killed, stopped and cut off at
 * random. Every accepted task must end as the guarantees say, and is compared as soon as it has. A
 * second cluster beside it has a like load and a bad network, but nobody kills it: its memory shows
 * what grows.
 */
import assert from "node:assert/strict";
import { join } from "node:path";
import { messageOf } from "../../src/base/errors.ts";
import { TaskError } from "../../src/tasks/service.ts";
import { isFinished, type Task, type TaskSpec } from "../../src/tasks/task.ts";
import { type Cluster, overlaps, startCluster } from "./cluster.ts";
import { eventually } from "./eventually.ts";
import { forward } from "./forwarder.ts";
import { type MemorySample, sampleMemory } from "./memory.ts";
import { type Random, random } from "./random.ts";
import { Faults, pause, type SoakHost } from "./soak_faults.ts";
import { compare, type Expected, type Kind, kinds } from "./soak_tasks.ts";
import { smallDisk } from "./small_disk.ts";

export interface SoakOptions {
  /** Duration of load and faults; the rest of the tasks follows. */
  forMs: number;
  seed?: number;
  workers?: number;
  /** Duration of the idleness after it, in which memory is looked at. */
  idleMs?: number;
  /** Ends the load and the faults early. */
  stop?: AbortSignal;
  /** Called for each fault, and once a minute with the progress. */
  say: (line: string) => void;
}

export interface SoakReport extends Counts {
  seed: number;
  faults: Record<string, number>;
  /** Processes of tasks that a guardian ended. */
  guarded: number;
  /** Of the cluster that nobody kills, under load and at the end of the idleness after it. */
  memory: MemorySample[];
  idle: MemorySample[];
}

interface Counts {
  accepted: number;
  succeeded: number;
  /** Tasks that were given up after too many lost attempts. */
  lost: number;
  lostAttempts: number;
}

/** Time to finish all tasks after the last fault. */
const settleMs = 120_000;
const betweenFaultsMs = { least: 300, most: 2_500 };
const betweenCutsMs = { least: 5_000, most: 30_000 };
/** From under a heartbeat to longer than a lease; at most a quarter of the whole run. */
const longestStopMs = 20_000;
/** Longer than a lease; at most a tenth of the whole run. */
const longestTaskMs = 25_000;
/** A task must not be given up with fewer lost attempts. */
const fewestLosses = 3;
/** Limit of open tasks, so that the load adapts to the speed of the cluster. */
const mostOpen = 60;
/** Pause between tasks: together the two clusters need about a core. */
const paceMs = { killed: 200, steady: 400 };
/** An hour of the load fills a part of the latter. */
const diskBytes = { least: 64 * 1024 ** 2, perHour: 2 * 1024 ** 3 };

/** @throws {assert.AssertionError} where a guarantee does not hold; the seed was said before. */
export async function soak(options: SoakOptions): Promise<SoakReport> {
  const { forMs, say } = options;
  const chance = random(options.seed);
  say(`soak: seed ${chance.seed}`);
  await using open = new AsyncDisposableStack();
  const disk = await smallDisk(
    Math.round(diskBytes.least + diskBytes.perHour * forMs / 3_600_000),
  );
  if (disk === undefined) say("soak: no disk is filled, which only root can");
  else open.use(disk);
  const killed = await startSide(open, options.workers ?? 3, disk?.path);
  const steady = await startSide(open, 1);
  const failed = new AbortController();
  const stop = options.stop ?? new AbortController().signal;
  const over = AbortSignal.any([AbortSignal.timeout(forMs), failed.signal, stop]);
  const longMs = Math.min(longestTaskMs, forMs / 10);
  const shared = { longestMs: Math.min(longestStopMs, forMs / 4), say };
  const faults = [
    new Faults({ ...shared, ...killed, chance, pauseMs: betweenFaultsMs, disk: disk?.path }),
    new Faults({
      ...{ ...shared, ...steady, chance: random(chance.seed), pauseMs: betweenCutsMs },
      ...{ disk: undefined, gentle: true, say: () => {} },
    }),
  ] as const;
  const processes = (): [string, number][] => [
    ["coordinator", steady.cluster.coordinator.pid],
    ["worker", steady.hosts[0]!.worker.role.pid],
  ];
  const sampling = sampleMemory(processes, over);
  const load = (cluster: Cluster, pace: number) =>
    new Load({ cluster, chance: random(chance.seed), longMs, paceMs: pace, say }).run(over);
  const all = await Promise.allSettled([
    load(killed.cluster, paceMs.killed),
    load(steady.cluster, paceMs.steady),
    ...faults.map((each) => each.run(over)),
  ].map((each) =>
    each.catch((error) => {
      failed.abort();
      throw error;
    })
  ));
  const broken = all.filter((each) => each.status === "rejected").map(({ reason }) => reason);
  if (broken.length > 0) {
    for (const { role } of killed.hosts.map(({ worker }) => worker)) say(lastLines(role.stderr()));
    say(lastLines(killed.cluster.coordinator.stderr()));
    throw new AggregateError(broken, broken.map(messageOf).join("\n"));
  }
  for (const { cluster } of [killed, steady]) {
    const found = await overlapsOf(cluster);
    assert.deepEqual(found, [], "two attempts of one task ran at the same time");
  }
  const [first, second] = all.map((each) => (each as PromiseFulfilledResult<Counts>).value);
  const counts = add(first!, second!);
  assert.ok(counts.lost <= counts.accepted / 50, `${counts.lost} tasks were given up as lost`);
  const { idleMs = 0 } = options;
  if (idleMs > 0) say(`soak: idle for ${idleMs / 1_000} s`);
  const rested = AbortSignal.any([AbortSignal.timeout(idleMs), stop]);
  const idle = await sampleMemory(processes, rested);
  return {
    ...{ seed: chance.seed, ...counts, memory: await sampling, idle },
    ...{ faults: faults[0].counts, guarded: faults[0].guarded },
  };
}

interface Side {
  cluster: Cluster;
  hosts: SoakHost[];
}

async function startSide(
  open: AsyncDisposableStack,
  workers: number,
  disk?: string,
): Promise<Side> {
  const coordinator = disk === undefined ? [] : [`--coordinator.data-dir=${join(disk, "data")}`];
  const cluster = open.use(await startCluster({ coordinator }));
  const port = Number(cluster.coordinator.address.split(":").at(-1));
  const hosts = await Promise.all(
    Array.from({ length: workers }, async (_, at) => {
      const link = open.use(await forward(port));
      return { link, worker: await cluster.startWorker({ id: `w${at}`, dial: link.address }) };
    }),
  );
  return { cluster, hosts };
}

interface LoadOptions {
  cluster: Cluster;
  chance: Random;
  longMs: number;
  paceMs: number;
  say: (line: string) => void;
}

/** Submits random tasks, each with an idempotency key, and compares each after its end. */
class Load {
  readonly #open = new Map<string, { name: string; expected: Expected }>();
  #isSubmitting = true;
  readonly #counts: Counts = { accepted: 0, succeeded: 0, lost: 0, lostAttempts: 0 };

  constructor(private readonly options: LoadOptions) {}

  /** Ends when the time is over and all tasks have ended. */
  async run(over: AbortSignal): Promise<Counts> {
    const submitted = this.#submitAll(over).finally(() => this.#isSubmitting = false);
    await Promise.all([submitted, this.#compareAll()]);
    return this.#counts;
  }

  async #submitAll(over: AbortSignal): Promise<void> {
    const { cluster: { folder }, chance, longMs, paceMs, say } = this.options;
    let saidAt = performance.now();
    for (let number = 0; !over.aborted; number++) {
      const [kind, make] = chance.pick(Object.entries<Kind>(kinds));
      const name = `${kind}${number}`;
      const expected = make(name, { folder, longMs });
      const id = await this.#submit(name, expected);
      assert.ok(!this.#open.has(id), `${name} got the task of another key, ${id}`);
      this.#open.set(id, { name, expected });
      this.#counts.accepted++;
      do await pause(paceMs); while (this.#open.size >= mostOpen && !over.aborted);
      if (performance.now() - saidAt < 60_000) continue;
      saidAt = performance.now();
      say(`soak: ${this.#counts.accepted} tasks accepted`);
    }
  }

  async #compareAll(): Promise<void> {
    let endMs = Infinity;
    while (this.#isSubmitting || this.#open.size > 0) {
      if (!this.#isSubmitting) endMs = Math.min(endMs, performance.now() + settleMs);
      await this.#compareFinished();
      const names = [...this.#open.values()].map(({ name }) => name).join(", ");
      assert.ok(
        performance.now() < endMs,
        `Still not finished long after the last fault: ${names}`,
      );
      await pause(500);
    }
  }

  /** Retries while the coordinator is away; the key prevents a second task. */
  async #submit(name: string, { script, spec: more }: Expected): Promise<string> {
    const spec: TaskSpec = {
      ...{ argv: ["sh", "-c", script], env: {}, cwd: undefined, selector: {} },
      ...{ timeoutMs: undefined, artifacts: [], retries: 0, retryDelayMs: 0 },
      ...more,
    };
    const { tasks } = this.options.cluster;
    return (await whileAway(() => tasks.submit(spec, { idempotencyKey: name }))).id;
  }

  async #compareFinished(): Promise<void> {
    const { cluster, say } = this.options;
    const states = ["queued", "running"] as const;
    const { tasks } = await whileAway(() =>
      cluster.tasks.listTasks({ states: [...states], limit: 1_000 })
    );
    const unfinished = new Set(tasks.map(({ id }) => id));
    const others = [...this.#open].filter(([id]) => !unfinished.has(id));
    await Promise.all(others.map(async ([id, { name, expected }]) => {
      const [task] = await whileAway(() => cluster.tasks.getTask(id));
      // It was submitted after the list was made.
      if (!isFinished(task!.state)) return;
      this.#open.delete(id);
      try {
        await this.#judge(task!, name, expected);
      } catch (error) {
        say(`soak: ${name} is ${JSON.stringify(task)}`);
        throw error;
      }
    }));
  }

  async #judge(task: Task, name: string, expected: Expected): Promise<void> {
    const lost = task.attempts.filter(({ state }) => state === "lost").length;
    this.#counts.lostAttempts += lost;
    if (task.state === "lost") {
      this.#counts.lost++;
      assert.ok(lost >= fewestLosses, `${name} was given up after ${lost} lost attempts`);
      return;
    }
    await whileAway(() => compare(this.options.cluster, task, name, expected));
    if (task.state === "succeeded") this.#counts.succeeded++;
  }
}

/** Retries while the coordinator is away or its disk is full; any other error is thrown. */
async function whileAway<T>(call: () => Promise<T>): Promise<T> {
  return await eventually(settleMs, async () => {
    try {
      return { answer: await call() };
    } catch (error) {
      const isAway = error instanceof TaskError &&
        (error.code === "unavailable" || error.code === "exhausted");
      return isAway ? undefined : { error };
    }
  }).then((settled) => {
    if ("error" in settled) throw settled.error;
    return settled.answer;
  });
}

async function overlapsOf(cluster: Cluster): Promise<string[]> {
  const traced = await Deno.stat(join(cluster.folder, "trace")).then(() => true, () => false);
  return traced ? await overlaps(cluster.folder) : [];
}

function add(one: Counts, other: Counts): Counts {
  return {
    accepted: one.accepted + other.accepted,
    succeeded: one.succeeded + other.succeeded,
    lost: one.lost + other.lost,
    lostAttempts: one.lostAttempts + other.lostAttempts,
  };
}

function lastLines(text: string): string {
  return text.split("\n").slice(-30).join("\n");
}
