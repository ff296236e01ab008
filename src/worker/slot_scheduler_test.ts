/** The worker between a coordinator and a runner that are both played by the test. */
import assert from "node:assert/strict";
import { hello } from "../../tests/support/engine.ts";
import { spec } from "../../tests/support/spec.ts";
import { eventually, settled } from "../../tests/support/eventually.ts";
import { silentLog } from "../../tests/support/silent_log.ts";
import { systemClock } from "../base/clock.ts";
import { attemptKey, type Order, type Report, type StartOrder } from "../tasks/orders.ts";
import { TaskError, type WorkerService, type WorkerSink } from "../tasks/service.ts";
import type { AttemptRef, AttemptResult } from "../tasks/task.ts";
import { createWorker } from "./worker.ts";

type Exited = Extract<Report, { kind: "exited" }>;

async function place(options: { slots: number; acknowledges?: boolean; inlineBytes?: number }) {
  const { slots, acknowledges = true, inlineBytes = 0 } = options;
  const seen = {
    orders: [] as Order[],
    held: [] as AttemptRef[][],
    troubles: [] as (string | undefined)[],
    credits: 0,
    finished: [] as AttemptResult[],
    /** Of attempts whose output is uploaded. */
    uploads: [] as string[],
    released: [] as { refs: AttemptRef[]; reason: string | undefined }[],
  };
  let heard: (reports: Report[]) => void = () => {};
  let sink: WorkerSink | undefined;
  let lost: AttemptRef[] = [];
  const service = {
    connect: (hello, next) => {
      sink = next;
      seen.held.push(hello.held);
      seen.credits = 0;
      return Promise.resolve({
        ...{ heartbeatMs: 200, leaseMs: 15_000, inlineBytes, draining: false, lost },
        heartbeat: (trouble) => {
          seen.troubles.push(trouble);
          return Promise.resolve();
        },
        credit: (count) => void (seen.credits += count),
        started: () => {},
        finished: (result) => {
          seen.finished.push(result);
          if (acknowledges) sink!.finishedAck(result.ref, false);
        },
        released: (refs, reason) => void seen.released.push({ refs, reason }),
        closed: () => {},
      });
    },
    uploadLog: (ref) => {
      seen.uploads.push(ref.taskId);
      return Promise.resolve({
        offsets: { stdout: 0, stderr: 0 },
        append: () => Promise.resolve(),
        end: () => Promise.resolve(),
        [Symbol.asyncDispose]: () => Promise.resolve(),
      });
    },
  } as Partial<WorkerService> as WorkerService;
  const spool = {
    open: () => {
      throw new Error("there is no output");
    },
    save: () => {},
    remove: () => {},
    load: () => [],
  };
  const { held: _, ...greeting } = hello({ slots });
  const worker = createWorker({
    hello: greeting,
    coordinators: [{ address: "c:1", service }],
    order: (orders) => void seen.orders.push(...orders),
    listen: (listener) => heard = listener,
    readFile: async function* () {},
    spool,
    clock: systemClock,
    log: silentLog,
  });
  const stop = new AbortController();
  const served = worker.serve(stop.signal);
  const alive = setInterval(() => heard([{ kind: "alive" }]), 500);
  await eventually(5_000, () => Promise.resolve(seen.credits > 0));
  let fence = 0;
  return {
    seen,
    worker,
    served,
    assign(count: number): AttemptRef[] {
      seen.credits -= count;
      const refs = Array.from({ length: count }, () => ({
        taskId: `t${++fence}.1`,
        attempt: 1,
        fence,
      }));
      sink!.assign(refs.map((ref) => {
        return { ref, spec: spec(), arrayId: undefined, arrayIndex: undefined };
      }));
      return refs;
    },
    starts: () => seen.orders.filter((order): order is StartOrder => order.kind === "start"),
    exit(key: string, more: Partial<Exited> = {}) {
      const facts = { startedAt: 1, at: 2, exitCode: 0, signal: undefined, reason: undefined };
      heard([{ kind: "exited", key, cause: "exit", ...facts, collects: false, ...more }]);
    },
    report: (report: Report) => heard([report]),
    /** The runner says no more that it works. */
    silence: () => clearInterval(alive),
    cancel: (ref: AttemptRef) => sink!.cancel(ref),
    /** Ends the session; in the next one these attempts are not the worker's any more. */
    async reconnect(gone: AttemptRef[]) {
      lost = gone;
      const { length } = seen.held;
      sink!.end(new TaskError("unavailable", "The end"));
      await eventually(10_000, () => Promise.resolve(seen.held.length > length));
    },
    async [Symbol.asyncDispose]() {
      clearInterval(alive);
      for (const { key } of this.starts()) this.exit(key);
      stop.abort(new Error("over"));
      await served;
    },
  };
}

Deno.test("no lease is renewed while the runner does not answer", async () => {
  await using t = await place({ slots: 1 });
  t.silence();
  const heartbeats = () => t.seen.troubles.length;
  const last = await settled(heartbeats);
  t.report({ kind: "alive" });
  await eventually(5_000, () => heartbeats() > last);
});

Deno.test("a worker without attempts leaves its runner alone, and its next start renews first", async () => {
  await using t = await place({ slots: 2 });
  const heartbeats = () => t.seen.troubles.length;
  const first = heartbeats();
  await eventually(5_000, () => heartbeats() > first + 2);
  assert.deepEqual(t.seen.orders, []);
  t.assign(2);
  assert.deepEqual(t.seen.orders.map(({ kind }) => kind), ["renew", "start", "start"]);
  const renewals = () => t.seen.orders.filter(({ kind }) => kind === "renew").length;
  await eventually(5_000, () => renewals() > 2);
});

Deno.test("no more attempts run than there are slots, however short they are", async () => {
  await using t = await place({ slots: 2 });
  let running = 0;
  let ended = 0;
  t.assign(20);
  while (ended < 20) {
    running = t.starts().length - ended;
    assert.ok(running <= 2, `${running} at once`);
    assert.equal(running, Math.min(2, 20 - ended));
    t.exit(t.starts()[ended++]!.key);
  }
  assert.equal(t.seen.finished.length, 20);
});

Deno.test("a worker whose results nobody acknowledges stops asking for work", async () => {
  await using t = await place({ slots: 4, acknowledges: false });
  for (let round = 0; round < 3_000 && t.seen.credits > 0; round++) {
    t.assign(Math.min(4, t.seen.credits));
    for (const { key } of t.starts().slice(-4)) t.exit(key);
  }
  const { finished } = t.seen;
  assert.ok(finished.length > 900 && finished.length < 1_100, String(finished.length));
});

Deno.test("an attempt that the host cannot start is handed back, with the reason first", async () => {
  await using t = await place({ slots: 1 });
  const [first, waiting] = t.assign(2);
  const failure = { cause: "host_failed", startedAt: undefined, exitCode: undefined } as const;
  t.exit(attemptKey(first!), { ...failure, reason: "No space left\non the disk" });
  assert.deepEqual(t.seen.finished, []);
  assert.match(t.seen.troubles.at(-1)!, /^No space left\ufffdon the disk$/);
  const { released } = t.seen;
  assert.deepEqual(released.flatMap(({ refs }) => refs).map(attemptKey).sort(), [
    attemptKey(first!),
    attemptKey(waiting!),
  ]);
  assert.ok(released.every(({ reason }) => reason?.startsWith("No space left")));
  assert.match(t.worker.stats().trouble!, /No space left/);
  // Assigned before the coordinator knew.
  const [late] = t.assign(1);
  assert.deepEqual(released.at(-1)!.refs, [late]);
  assert.equal(t.starts().length, 1);
  await eventually(5_000, () => Promise.resolve(t.seen.orders.some(({ kind }) => kind === "test")));
  t.report({ kind: "tested", problem: undefined });
  assert.equal(t.seen.troubles.at(-1), undefined);
  t.assign(1);
  assert.equal(t.starts().length, 2);
});

Deno.test("a cancel reaches an attempt that waits, and one that runs", async () => {
  await using t = await place({ slots: 1 });
  const [running, waiting] = t.assign(2);
  t.cancel(waiting!);
  assert.deepEqual(t.seen.finished.map(({ ref, state }) => [ref, state]), [[waiting, "cancelled"]]);
  t.cancel(running!);
  const end = t.seen.orders.find(({ kind }) => kind === "end");
  assert.deepEqual(end, {
    kind: "end",
    key: attemptKey(running!),
    cause: "cancelled",
    graceMs: 5_000,
  });
  t.exit(attemptKey(running!), { cause: "cancelled" });
  assert.equal(t.starts().length, 1, "the one that waited was never started");
});

Deno.test("what a new session calls lost is ended, and its result is not delivered", async () => {
  await using t = await place({ slots: 2 });
  const [lost, kept] = t.assign(2);
  await t.reconnect([lost!]);
  assert.deepEqual(t.seen.held.at(-1)!.map(attemptKey).sort(), [lost!, kept!].map(attemptKey));
  const ends = () => t.seen.orders.filter((order) => order.kind === "end");
  await eventually(5_000, () => Promise.resolve(ends().length > 0));
  assert.deepEqual(ends(), [{
    kind: "end",
    key: attemptKey(lost!),
    cause: "lost",
    graceMs: 0,
  }]);
  t.exit(attemptKey(lost!), { cause: "lost" });
  await eventually(5_000, () => Promise.resolve(t.seen.credits > 0));
  t.exit(attemptKey(kept!));
  assert.deepEqual(t.seen.finished.map(({ ref }) => ref), [kept]);
});

Deno.test("a worker that retires hands back what waits, and ends when the running task has", async () => {
  await using t = await place({ slots: 1 });
  const [running, waiting] = t.assign(2);
  t.report({ kind: "retire" });
  assert.deepEqual(t.seen.released.map(({ refs }) => refs), [[waiting]]);
  const soon = new Promise((resolve) => setTimeout(resolve, 100, "it runs on"));
  assert.equal(await Promise.race([t.served, soon]), "it runs on");
  assert.ok(t.seen.credits <= 0, "it asks for no more");
  t.exit(attemptKey(running!));
  await t.served;
  assert.deepEqual(t.seen.finished.map(({ ref, state }) => [ref, state]), [[running, "succeeded"]]);
});

Deno.test("a little output comes with the result, more is uploaded before it", async () => {
  await using t = await place({ slots: 1, inlineBytes: 6 });
  const run = async (texts: string[]) => {
    const [ref] = t.assign(1);
    const key = attemptKey(ref!);
    for (const text of texts) {
      const data = new TextEncoder().encode(text);
      t.report({ kind: "output", key, stream: "stdout", data });
    }
    t.exit(key);
    await eventually(5_000, () => t.seen.finished.at(-1)?.ref === ref);
    const { output, stdoutBytes } = t.seen.finished.at(-1)!;
    return [stdoutBytes, output && new TextDecoder().decode(output.stdout)];
  };
  assert.deepEqual(await run(["abc", "def"]), [6, "abcdef"]);
  assert.deepEqual(t.seen.uploads, []);
  assert.deepEqual(await run(["abc", "defg"]), [7, undefined]);
  assert.equal(t.seen.uploads.length, 1);
  assert.deepEqual(await run([]), [0, undefined]);
});
