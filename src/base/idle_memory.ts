import process from "node:process";
import { coarseInterval } from "./lifetimes.ts";
import { leaveProgram, trimMemory } from "./libc.ts";

/** How often to look whether the process has nothing to do. */
const lookMs = 5_000;

/** Share of one processor below which it is idle. Heartbeats need a tenth of it. */
const idleShare = 0.02;

/** Share above which it works again: the collections themselves need a part of it. */
const workShare = 0.2;

/** Processor time since the last release that is worth another one, which costs 300 ms. The start is. */
const worthMs = 2_000;

/** The same for work that was followed by `longLooks` without any: 20 MiB may have come with it. */
const worthLaterMs = 300;
const longLooks = 12;

/** Collections before the memory is released: finalizers free more after the first one. */
const collections = 2;

/** Decides by the processor time that the process has used when its memory is released. */
export class IdleLooks {
  #last: number;
  #released = -Infinity;
  #collected = 0;
  #idleLooks = 0;
  /** Whether it did more than heartbeats since the last release. */
  #worked = false;

  constructor(usedMs: number) {
    this.#last = usedMs;
  }

  /** Called every `lookMs`. */
  next(usedMs: number): "nothing" | "collect" | "release" {
    const share = this.#collected === 0 ? idleShare : workShare;
    const isIdle = usedMs - this.#last < lookMs * share;
    this.#last = usedMs;
    if (!isIdle) {
      this.#collected = 0;
      this.#idleLooks = 0;
      this.#worked = true;
      return "nothing";
    }
    const worth = this.#worked && ++this.#idleLooks > longLooks ? worthLaterMs : worthMs;
    if (this.#collected === 0 && usedMs - this.#released < worth) return "nothing";
    if (this.#collected++ < collections) return "collect";
    this.#collected = 0;
    this.#worked = false;
    this.#released = usedMs;
    return "release";
  }
}

const releases = new Set<() => void>();

/** Has `release` called in this thread each time the process has nothing to do, until it is disposed of. */
export function whenIdle(release: () => void): Disposable {
  releases.add(release);
  return { [Symbol.dispose]: () => void releases.delete(release) };
}

/** Lets go of what this thread can do without; garbage only in a process started with `--expose-gc`. */
export function releaseThread(): void {
  for (const release of releases) release();
  (globalThis as { gc?: () => void }).gc?.();
}

/**
 * Gives memory back while the process has nothing to do. V8 collects garbage only when it allocates,
 * and the C library keeps what threads have freed: after a burst of tasks an idle coordinator kept 224
 * MiB, and keeps 80 MiB with this (Deno 2.7). Call it in the main thread.
 *
 * @param collect collects the garbage of the other threads.
 */
export function releaseWhenIdle(collect: () => void): Disposable {
  const usedMs = () => {
    const { user, system } = process.cpuUsage();
    return (user + system) / 1_000;
  };
  const looks = new IdleLooks(usedMs());
  return coarseInterval(() => {
    const what = looks.next(usedMs());
    if (what === "collect") {
      collect();
      releaseThread();
    } else if (what === "release") {
      trimMemory();
      leaveProgram();
    }
  }, lookMs);
}
