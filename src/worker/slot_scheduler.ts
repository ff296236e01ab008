import { createHash } from "node:crypto";
import { aborted } from "../base/lifetimes.ts";
import type { Order, OutputStream, Report } from "../tasks/orders.ts";
import type { Assignment } from "../tasks/task.ts";
import { newCredits, nextLink, nextMeanMs, releaseAfterMs, tasksAhead } from "./flow_control.ts";
import { Held, streams } from "./running_attempt.ts";
import { Link, type LinkEvents } from "./coordinator_session.ts";
import type { Exited } from "./attempt_result.ts";
import { Relief } from "./spill.ts";
import type { WorkerOptions } from "./worker.ts";

/**
 * Memory for output that is on its way, shared by the slots: the worker stays below 200 MiB. For one
 * stream no more than an upload's window is of use; what waits longer outlives young garbage.
 */
const outputMemory = {
  totalBytes: 32 * 1024 * 1024,
  mostBytes: 2 * 1024 * 1024,
  leastBytes: 256 * 1024,
};

/** What a task writes first is sent after this long; most tasks have ended by then. */
const gatherMs = 50;

/** With more results that nobody acknowledges, no new work is asked for. */
const maxUndelivered = 1_000;

/** What a task is taken to last, at least, once others had to be handed back because of it. */
const longMs = 1_000;

/** Between SIGTERM and SIGKILL for a task that is cancelled. */
const graceMs = 5_000;

/**
 * When the worker is told to stop: how long running tasks may go on, what they have for their end,
 * and how long the last results may take. Altogether well below the 30 s of container runtimes.
 */
const stop = { runMs: 5_000, graceMs: 5_000, deliverMs: 3_000 };

export interface WorkerStats {
  slots: number;
  running: number;
  /** Assigned, and waiting for a slot. */
  waiting: number;
  /** Finished, and not acknowledged yet. */
  undelivered: number;
  sessions: number;
  coordinators: number;
  /** Since the start, by how they ended. */
  finished: Record<string, number>;
  outputBytes: number;
}

/** The slots, and who has them. */
export class Pool implements LinkEvents {
  readonly links: Link[];
  /** Known to the runner. */
  readonly #started = new Map<string, { held: Held; link: Link }>();
  /** Have written something that nobody was told of yet. */
  readonly #gathering = new Set<string>();
  #gatherer: ReturnType<typeof setTimeout> | undefined;
  readonly #memoryBytes: number;
  #running = 0;
  #meanMs: number | undefined;
  #served = 0;
  #stopping = false;
  readonly #relief: Relief;
  #settledSome = () => {};
  #outputBytes = 0;
  readonly #finished: Record<string, number> = {};

  constructor(private readonly options: WorkerOptions) {
    const { coordinators, clock, log, hello, spool, readFile, random = Math.random } = options;
    const perStream = outputMemory.totalBytes / (2 * hello.slots);
    const { mostBytes, leastBytes } = outputMemory;
    this.#memoryBytes = Math.min(mostBytes, Math.max(leastBytes, perStream));
    const taken = (held: Held, stream: OutputStream, bytes: number) =>
      options.order([{ kind: "taken", key: held.key, stream, bytes }]);
    this.#relief = new Relief(spool, log, taken);
    const delivery = { clock, taken, readFile };
    this.links = coordinators.map(({ address, service }) => {
      const parts = { address, service, delivery, clock, log, random };
      return new Link({ ...parts, hello: helloTo(address, hello), events: this });
    });
    for (const record of spool.load()) {
      const link = this.links.find(({ address }) => address === record.lease);
      if (link !== undefined) {
        const held = Held.restored(record, spool);
        link.held.set(held.key, held);
        continue;
      }
      const { key, lease: coordinator } = record;
      log.warn("dropping a result for a coordinator that is not configured", { key, coordinator });
      spool.remove(key);
      if (record.files.length > 0) options.order([{ kind: "forget", key }]);
    }
  }

  stats(): WorkerStats {
    const sum = (count: (link: Link) => number) =>
      this.links.reduce((all, link) => all + count(link), 0);
    const waiting = sum(({ queued }) => queued);
    return {
      slots: this.options.hello.slots,
      running: this.#running,
      waiting,
      undelivered: Math.max(0, sum(({ held }) => held.size) - waiting - this.#running),
      sessions: sum(({ session }) => session === undefined ? 0 : 1),
      coordinators: this.links.length,
      finished: this.#finished,
      outputBytes: this.#outputBytes,
    };
  }

  // What coordinators say.

  assigned(link: Link, assignments: Assignment[]): void {
    const { clock, spool } = this.options;
    const now = clock.monotonic();
    for (const assignment of assignments) {
      const held = new Held(assignment.ref, assignment, now, spool, this.#memoryBytes);
      if (link.held.has(held.key)) continue;
      link.held.set(held.key, held);
      link.queue.push(held);
    }
    if (this.#stopping || link.draining) link.release(() => true);
    this.#startWaiting();
    this.#credit();
  }

  cancel(link: Link, held: Held): void {
    const { clock, order } = this.options;
    if (held.phase === "running") {
      return order([{ kind: "end", key: held.key, cause: "cancelled", graceMs }]);
    }
    if (held.phase !== "queued") return;
    link.queue.splice(link.queue.indexOf(held), 1);
    held.neverRan("cancelled", clock.now(), clock.monotonic());
    link.deliver(held);
  }

  settled(link: Link, held: Held, how: "delivered" | "superseded" | "lost"): void {
    const { spool, order, log } = this.options;
    const { key } = held;
    if (how === "superseded") log.warn("a result came too late", { attempt: key });
    link.held.delete(key);
    // Its slot is free when the runner has reported the end.
    if (held.phase === "running") order([{ kind: "end", key, cause: "lost", graceMs: 0 }]);
    if (held.phase === "finished" && held.collects) order([{ kind: "forget", key }]);
    const usesDisk = held.spooled || streams.some((stream) => held.outputs[stream].usesFile);
    held.forget();
    if (usesDisk) spool.remove(key);
    this.#settledSome();
  }

  renewed(link: Link, forMs: number): void {
    const sentAt = this.options.clock.now();
    this.options.order([{ kind: "renew", lease: link.address, forMs, sentAt }]);
  }

  changed(link: Link): void {
    if (link.draining) link.release(() => true);
    this.#credit();
    this.#tellConnected();
  }

  cut(): void {
    this.#tellConnected();
  }

  // What the runner says.

  heard(reports: Report[]): void {
    const begun: [Held, Link, number][] = [];
    const room: Order[] = [];
    for (const report of reports) {
      const entry = this.#started.get(report.key);
      if (entry === undefined) continue;
      const { held, link } = entry;
      switch (report.kind) {
        case "started":
          begun.push([held, link, report.at]);
          break;
        case "output": {
          if (held.phase === "gone") break;
          this.#outputBytes += report.data.length;
          const bytes = held.outputs[report.stream].append(report.data);
          if (bytes > 0) room.push({ kind: "taken", key: held.key, stream: report.stream, bytes });
          held.changed();
          this.#gather(held);
          break;
        }
        case "exited":
          this.#exited(held, link, report);
          break;
        case "collected":
          this.#started.delete(held.key);
          if (held.phase === "gone") this.options.order([{ kind: "forget", key: held.key }]);
          else this.#finish(held, link, report.files, report.notes);
      }
    }
    if (room.length > 0) this.options.order(room);
    for (const [held, link, at] of begun) {
      // What has ended already says so in its result.
      if (held.phase === "running") link.session?.started(held.ref, at);
    }
    this.#startWaiting();
    this.#credit();
  }

  #exited(held: Held, link: Link, exited: Exited): void {
    const now = this.options.clock.monotonic();
    this.#running--;
    link.running--;
    if (exited.cause === "exit") this.#meanMs = nextMeanMs(this.#meanMs, now - held.startedAt);
    if (!exited.collects) this.#started.delete(held.key);
    if (held.phase === "gone") return;
    held.exited(exited);
    held.collects = exited.collects;
    if (!exited.collects) this.#finish(held, link, [], []);
  }

  #finish(held: Held, link: Link, files: Held["files"], notes: string[]): void {
    held.finish(files, notes, this.options.clock.monotonic());
    const state = held.result!.state;
    this.#finished[state] = (this.#finished[state] ?? 0) + 1;
    if (state === "lost" && link.session === undefined) {
      return this.settled(link, held, "lost");
    }
    link.deliver(held);
  }

  // What time says.

  tick(): void {
    const now = this.options.clock.monotonic();
    for (const link of this.links) {
      const isFull = this.#running >= this.options.hello.slots;
      if (isFull && link.release(({ queuedAt }) => now - queuedAt > releaseAfterMs) > 0) {
        this.#meanMs = Math.max(this.#meanMs ?? 0, longMs);
      }
      for (const held of link.held.values()) this.#relief.tick(held, link.address, now);
    }
    this.#credit();
  }

  #gather(held: Held): void {
    if (held.toldOutput) return;
    this.#gathering.add(held.key);
    this.#gatherer ??= setTimeout(() => {
      this.#gatherer = undefined;
      for (const key of this.#gathering) {
        const entry = this.#started.get(key);
        if (entry?.held.phase !== "running") continue;
        entry.held.toldOutput = true;
        entry.link.deliver(entry.held);
      }
      this.#gathering.clear();
    }, gatherMs);
  }

  #startWaiting(): void {
    const { clock, hello, order } = this.options;
    const orders: Order[] = [];
    while (this.#running < hello.slots) {
      const link = nextLink(this.links);
      if (link === undefined) break;
      const held = link.queue.shift()!;
      const { spec, arrayIndex, ref } = held.assignment!;
      held.phase = "running";
      held.startedAt = clock.monotonic();
      this.#running++;
      link.running++;
      link.servedAt = ++this.#served;
      this.#started.set(held.key, { held, link });
      const { argv, env, cwd, timeoutMs, artifacts } = spec;
      const facts = { key: held.key, lease: link.address, taskId: ref.taskId, arrayIndex };
      orders.push({ kind: "start", ...facts, argv, env, cwd, timeoutMs, artifacts });
    }
    if (orders.length > 0) order(orders);
  }

  #credit(): void {
    if (this.#stopping) return;
    const { slots } = this.options.hello;
    const undelivered = this.links.reduce((sum, { held }) => sum + held.size, 0) - this.#running;
    if (undelivered > maxUndelivered) return;
    const ahead = this.#meanMs === undefined ? 0 : tasksAhead(slots, this.#meanMs);
    newCredits({ slots, ahead, links: this.links }).forEach((count, at) => {
      if (count > 0) this.links[at]!.grant(count);
    });
  }

  #tellConnected(): void {
    this.options.connected?.(this.links.filter(({ session }) => session !== undefined).length);
  }

  /** Takes no more work, and settles when what there was is finished, ended or handed back. */
  async drain(): Promise<void> {
    const { log, order } = this.options;
    this.#stopping = true;
    for (const link of this.links) {
      link.release(() => true);
      link.revokeCredits();
    }
    if (this.#running > 0) log.info("waiting for running tasks", { running: this.#running });
    await this.#until(() => this.#running === 0, stop.runMs);
    if (this.#running > 0) {
      log.warn("ending tasks that are still running", { running: this.#running });
      const left = [...this.#started.values()].filter(({ held }) => held.phase === "running");
      order(left.map(({ held }) => {
        const { key } = held;
        held.why = "Its worker was told to stop";
        return { kind: "end", key, cause: "lost", graceMs: stop.graceMs } as const;
      }));
      await this.#until(() => this.#running === 0, stop.graceMs + 2_000);
    }
    const isDelivered = () =>
      this.links.every(({ session, held }) => session === undefined || held.size === 0);
    const isQuiet = () => this.links.every(({ credit }) => credit === 0);
    await this.#until(() => isDelivered() && isQuiet(), stop.deliverMs);
  }

  /** Results that nobody acknowledged, for the next start. */
  close(): void {
    clearTimeout(this.#gatherer);
    for (const link of this.links) {
      for (const held of link.held.values()) this.#relief.save(held, link.address);
    }
  }

  async #until(isSo: () => boolean, withinMs: number): Promise<void> {
    const late = AbortSignal.timeout(withinMs);
    while (!isSo() && !late.aborted) {
      const turn = Promise.withResolvers<void>();
      this.#settledSome = turn.resolve;
      const timer = setTimeout(turn.resolve, 50);
      await Promise.race([turn.promise, aborted(late)]);
      clearTimeout(timer);
    }
  }
}

/**
 * How a coordinator of several is greeted. The attempts held of one are none of another's, so to each
 * this is another process in another home: else one that is configured twice, by two names, would take
 * each connection for the other's successor, and give away what the other runs.
 */
function helloTo(address: string, hello: WorkerOptions["hello"]): WorkerOptions["hello"] {
  const { instance, home } = hello;
  const derived = (name: string) =>
    createHash("sha256").update(`${name} ${address}`).digest("hex").slice(0, 32);
  return {
    ...hello,
    instance: derived(instance),
    home: home === undefined ? undefined : derived(home),
  };
}
