import assert from "node:assert/strict";
import { leaseTimes } from "../../src/tasks/limits.ts";
import { type AttemptRef, isFinished, type Task } from "../../src/tasks/task.ts";
import { EngineHarness, FakeWorker, result, taskError, turn } from "../support/engine.ts";
import { spec } from "../support/spec.ts";

/** Seeds of each run; AGENT_TEST_SEED sets another one. */
const steps = 300;
const runs = 4;

/** Mulberry32: small, and good enough to choose steps. */
function randomFrom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/**
 * The true state of a worker's host: which processes run there, known to others or not. It
 * follows the protocol: processes end `workerEndsMs` after the last acknowledged heartbeat, unless
 * it was told to hold on, and a restart ends them all before it connects.
 */
class Host {
  link: FakeWorker | undefined;
  instance = 0;
  /** By fencing number. */
  readonly processes = new Map<number, AttemptRef>();
  /** Ended, but not acknowledged. */
  readonly results = new Map<number, AttemptRef>();
  endsAt = 0;
  #seen = 0;

  constructor(readonly id: string) {}

  get held(): AttemptRef[] {
    return [...this.processes.values(), ...this.results.values()];
  }

  async connect(harness: EngineHarness): Promise<void> {
    const link = FakeWorker.connect(harness.engine, {
      workerId: this.id,
      instance: `instance-${this.instance}`,
      home: `home-of-${this.id}`,
      labels: { host: this.id },
      held: this.held,
    });
    try {
      this.link = await link;
    } catch (error) {
      // The coordinator assumes that the previous start still runs; workers retry.
      taskError("wrong_state")(error);
      return;
    }
    this.#seen = 0;
    for (const ref of this.link.session.lost) this.#forget(ref);
    this.beat(harness);
    await turn();
    this.link.session.credit(2);
  }

  beat(harness: EngineHarness): void {
    this.endsAt = harness.clock.now() + leaseTimes.workerEndsMs;
    void this.link!.session.heartbeat();
  }

  /** Records the coordinator's messages. */
  listen(): void {
    const { link } = this;
    if (link === undefined) return;
    for (; this.#seen < link.assigned.length; this.#seen++) {
      const { ref } = link.assigned[this.#seen]!;
      this.processes.set(ref.fence, ref);
    }
    for (const { ref } of link.acks) this.results.delete(ref.fence);
    if (link.holds.length > 0) this.endsAt += link.holds.splice(0).reduce((a, b) => a + b);
    if (link.ended !== undefined) this.link = undefined;
  }

  /** Ends the processes that the worker must have ended by now. */
  heed(now: number): void {
    if (now >= this.endsAt) this.processes.clear();
  }

  #forget(ref: AttemptRef): void {
    this.processes.delete(ref.fence);
    this.results.delete(ref.fence);
  }
}

async function run(seed: number): Promise<void> {
  const random = randomFrom(seed);
  const below = (count: number) => Math.floor(random() * count);
  await using harness = new EngineHarness();
  const hosts = [new Host("a"), new Host("b"), new Host("c")];
  const accepted = new Set<string>();
  const ended = new Map<string, string>();
  const acknowledged = new Map<string, number>();
  const cancelled = new Set<string>();

  const step: Record<string, () => void | Promise<void>> = {
    async submit() {
      const host = ["a", "b", "c", "nowhere", ""][below(5)]!;
      const { taskIds } = await harness.engine.submit(
        spec({ selector: host === "" ? {} : { host }, retries: below(3) }),
        below(4) === 0 ? { array: { first: 0, last: below(5) } } : {},
      );
      for (const id of taskIds) accepted.add(id);
    },
    async connect() {
      const host = hosts[below(3)]!;
      if (host.link === undefined) await host.connect(harness);
    },
    /** The connection breaks; the coordinator may notice it later. */
    cut() {
      const host = hosts[below(3)]!;
      if (below(2) === 0) host.link?.session.closed();
      host.link = undefined;
    },
    /** kill -9 and a restart: all processes have ended before it connects. */
    async crash() {
      const host = hosts[below(3)]!;
      host.link?.session.closed();
      host.link = undefined;
      host.processes.clear();
      if (below(2) === 0) host.results.clear();
      host.instance++;
      await host.connect(harness);
    },
    credit() {
      hosts[below(3)]!.link?.session.credit(1 + below(3));
    },
    start() {
      for (const host of hosts) {
        for (const ref of host.processes.values()) {
          if (below(2) === 0) host.link?.session.started(ref, harness.clock.now());
        }
      }
    },
    finish() {
      for (const host of hosts) {
        for (const ref of [...host.processes.values()]) {
          if (below(3) > 0) continue;
          host.processes.delete(ref.fence);
          host.results.set(ref.fence, ref);
        }
        for (const ref of host.results.values()) {
          const state = cancelled.has(ref.taskId) && below(2) === 0
            ? "cancelled"
            : below(3) === 0
            ? "failed"
            : "succeeded";
          host.link?.session.finished(result(ref, { state }));
        }
      }
    },
    release() {
      const host = hosts[below(3)]!;
      const [ref] = host.processes.values();
      if (ref === undefined || host.link === undefined) return;
      host.processes.delete(ref.fence);
      host.link.session.released([ref]);
    },
    async cancel() {
      const id = [...accepted][below(accepted.size)];
      if (id === undefined) return;
      await harness.engine.cancelTask(id).then(() => cancelled.add(id), () => {});
    },
    async restart() {
      await harness.restart();
    },
    /** Uncommitted changes are lost, and no message is sent. */
    async crashOfTheCoordinator() {
      for (const host of hosts) {
        host.link?.session.closed();
        host.link = undefined;
      }
      await harness.crash();
    },
    time() {
      const span = [100, 1_000, 3_000, 7_000, 12_000][below(5)]!;
      // In seconds, as beats come; a host without a link does not beat.
      for (let left = span; left > 0; left -= 1_000) {
        harness.clock.turn(Math.min(left, 1_000));
        for (const host of hosts) {
          if (host.link !== undefined) host.beat(harness);
          host.heed(harness.clock.now());
        }
        harness.engine.advance();
      }
    },
  };
  const names = Object.keys(step);

  for (let count = 0; count < steps; count++) {
    const name = names[below(names.length)]!;
    await step[name]!();
    // An acknowledgement counts once it is sent, even if the host is cut off right after.
    const links = hosts.map((host) => host.link);
    await turn();
    for (const link of links) {
      for (const { ref, superseded } of link?.acks ?? []) {
        if (!superseded) acknowledged.set(`${ref.taskId} ${ref.attempt}`, ref.fence);
      }
    }
    for (const host of hosts) {
      host.listen();
      host.heed(harness.clock.now());
    }
    await check(`seed ${seed}, step ${count}: ${name}`);
  }

  async function check(at: string): Promise<void> {
    const all = new Map<string, Task>();
    let page: { tasks: Task[]; more: boolean } | undefined;
    do {
      const before = page?.tasks.at(-1)?.id;
      const query = before === undefined ? {} : { before };
      page = await harness.engine.listTasks({ limit: 1_000, ...query });
      for (const task of page.tasks) all.set(task.id, task);
    } while (page.more);
    for (const id of accepted) assert.ok(all.has(id), `${at}: task ${id} is gone`);
    assert.equal(all.size, accepted.size, at);
    const counts: Record<string, number> = {};
    for (const [id, task] of all) {
      counts[task.state] = (counts[task.state] ?? 0) + 1;
      const live = task.attempts.filter((attempt) => attempt.state === "running");
      assert.equal(live.length, task.state === "running" ? 1 : 0, `${at}: leases of ${id}`);
      const fences = task.attempts.map((attempt) => attempt.fence);
      assert.deepEqual(fences, fences.toSorted((a, b) => a - b), `${at}: fences of ${id}`);
      // A finished task never runs or changes again, because no one retries by hand here.
      const before = ended.get(id);
      if (before !== undefined) assert.equal(task.state, before, `${at}: ${id} has come back`);
      if (isFinished(task.state)) ended.set(id, task.state);
      const running = hosts.filter((host) =>
        [...host.processes.values()].some((ref) => ref.taskId === id)
      );
      assert.ok(running.length <= 1, `${at}: ${id} runs on ${running.map((host) => host.id)}`);
    }
    for (const [key, fence] of acknowledged) {
      const [id, number] = key.split(" ") as [string, string];
      const attempt = all.get(id)!.attempts.find((each) => each.attempt === Number(number))!;
      assert.equal(attempt.fence, fence, `${at}: attempt ${key}`);
      assert.ok(isFinished(attempt.state) && attempt.state !== "lost", `${at}: attempt ${key}`);
    }
    for (const [state, count] of Object.entries(harness.engine.stats().tasks)) {
      assert.equal(count, counts[state] ?? 0, `${at}: number of ${state}`);
    }
  }

  // At the end every task that can run does run.
  for (let round = 0; round < 60; round++) {
    for (const host of hosts) {
      if (host.link === undefined) await host.connect(harness);
      host.link?.session.credit(9);
    }
    await turn();
    for (const host of hosts) {
      host.listen();
      for (const ref of [...host.processes.values(), ...host.results.values()]) {
        host.processes.delete(ref.fence);
        host.results.set(ref.fence, ref);
        host.link?.session.finished(result(ref));
      }
    }
    await step.time!();
    await turn();
    for (const host of hosts) host.listen();
  }
  await check(`seed ${seed}, at the end`);
  const { tasks } = await harness.engine.listTasks({ states: ["queued", "running"], limit: 1_000 });
  for (const task of tasks) {
    assert.deepEqual(
      [task.state, task.spec.selector.host],
      ["queued", "nowhere"],
      `seed ${seed}: ${task.id} is stuck: ${task.reason}`,
    );
  }
}

Deno.test("random faults: no task is lost, repeated, or run twice at once", async () => {
  const given = Deno.env.get("AGENT_TEST_SEED");
  const first = given === undefined ? Date.now() % 1e9 : Number(given);
  const seeds = given === undefined ? Array.from({ length: runs }, (_, at) => first + at) : [first];
  for (const seed of seeds) {
    try {
      await run(seed);
    } catch (error) {
      throw new Error(`With AGENT_TEST_SEED=${seed}: ${(error as Error).message}`, {
        cause: error,
      });
    }
  }
});
