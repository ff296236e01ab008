import { attemptKey, type Collected, type OutputStream } from "../tasks/orders.ts";
import type { Assignment, AttemptRef, AttemptResult, InlineOutput } from "../tasks/task.ts";
import { OutputBuffer } from "./output_buffer.ts";
import { attemptResult, type Exited, reasonLine } from "./attempt_result.ts";
import type { Spool, SpooledResult } from "./spool.ts";

export const streams: readonly OutputStream[] = ["stdout", "stderr"];

/** The phases of an attempt on a worker, in order. */
export type Phase =
  /** Assigned, and waits for a slot. */
  | "queued"
  /** Has a slot. */
  | "running"
  /** Its processes have ended; artifacts are being collected. */
  | "exited"
  /** Its result is known and must be delivered. */
  | "finished"
  /** Dropped: delivered, or given to another worker. */
  | "gone";

/** One attempt that this worker has a lease of. */
export class RunningAttempt {
  readonly key: string;
  readonly outputs: Record<OutputStream, OutputBuffer>;
  phase: Phase = "queued";
  result: AttemptResult | undefined;
  files: Collected[] = [];
  /** When it arrived, started and finished, by the monotonic clock. */
  queuedAt: number;
  startedAt = 0;
  finishedAt = 0;
  spooled = false;
  /** Whether its output is being delivered already, or was by an earlier start of the worker. */
  toldOutput = false;
  /** The session in which it is being delivered. */
  deliveredIn: AbortSignal | undefined;
  /** Why this worker ended it, if the runner cannot know. */
  why: string | undefined;
  /** Whether the runner has to remove folders of it. */
  collects = false;
  #notes: string[] = [];
  #exited: Exited | undefined;
  #change: PromiseWithResolvers<void> | undefined;

  constructor(
    readonly ref: AttemptRef,
    readonly assignment: Assignment | undefined,
    now: number,
    spool: Spool,
    memoryBytes: number,
  ) {
    this.key = attemptKey(ref);
    this.queuedAt = now;
    const output = (stream: OutputStream) =>
      new OutputBuffer(() => spool.open(this.key, stream), memoryBytes);
    this.outputs = { stdout: output("stdout"), stderr: output("stderr") };
  }

  /** A result that an earlier start of the worker could not deliver. */
  static restored({ key, result, starts, files }: SpooledResult, spool: Spool): RunningAttempt {
    const attempt = new RunningAttempt(result.ref, undefined, 0, spool, 0);
    for (const stream of streams) {
      const end = stream === "stdout" ? result.stdoutBytes : result.stderrBytes;
      const open = () => spool.open(key, stream);
      attempt.outputs[stream] = OutputBuffer.restored(open, starts[stream], end);
    }
    attempt.phase = "finished";
    attempt.result = result;
    attempt.files = files;
    attempt.spooled = true;
    attempt.toldOutput = true;
    attempt.collects = files.length > 0;
    return attempt;
  }

  get hasOutput(): boolean {
    return this.outputs.stdout.end + this.outputs.stderr.end > 0;
  }

  /** Its processes run, or the runner collects what they left. */
  get isRunning(): boolean {
    return this.phase === "running" || this.phase === "exited";
  }

  /** All that it wrote, if that is no more than `mostBytes` and its delivery has not begun. */
  inlineOutput(mostBytes: number): InlineOutput | undefined {
    const { stdout, stderr } = this.outputs;
    if (this.phase !== "finished" || this.toldOutput || stdout.end + stderr.end > mostBytes) {
      return undefined;
    }
    const output = { stdout: stdout.read(0), stderr: stderr.read(0) };
    // What is partly in the spool is not read at once.
    const isWhole = output.stdout.length === stdout.end && output.stderr.length === stderr.end;
    return isWhole ? output : undefined;
  }

  get isOver(): boolean {
    return this.phase === "finished" || this.phase === "gone";
  }

  /** Added to the reason of the result. */
  note(text: string): void {
    this.#notes.push(text);
    if (this.result === undefined) return;
    if (this.#exited !== undefined) return this.#conclude(this.#exited);
    // Only the result of an attempt of an earlier start is known.
    const { reason } = this.result;
    const longer = reason === undefined ? text : `${reason}; ${text}`;
    this.result = { ...this.result, reason: reasonLine(longer) };
  }

  exited(exited: Exited): void {
    this.phase = "exited";
    this.#exited = { ...exited, reason: exited.reason ?? this.why };
  }

  /** Artifacts are collected, or there are none. */
  finish(files: Collected[], notes: string[], now: number): void {
    this.files = files;
    this.#notes.push(...notes);
    this.finishedAt = now;
    this.#conclude(this.#exited!);
    this.phase = "finished";
    this.changed();
  }

  /** It ended before it started. */
  neverRan(cause: "cancelled", at: number, now: number): void {
    const [startedAt, exitCode, signal, reason] = [undefined, undefined, undefined, undefined];
    const facts = { startedAt, at, exitCode, signal, reason, collects: false };
    this.exited({ kind: "exited", key: this.key, cause, ...facts });
    this.finish([], [], now);
  }

  forget(): void {
    this.phase = "gone";
    for (const stream of streams) this.outputs[stream].close();
    this.changed();
  }

  /** Writes everything that is needed to deliver it after a restart. */
  spool(spool: Spool, lease: string): void {
    const { stdout, stderr } = this.outputs;
    const starts = { stdout: stdout.keep(), stderr: stderr.keep() };
    spool.save({ key: this.key, lease, result: this.result!, starts, files: this.files });
    this.spooled = true;
  }

  /** Wakes its delivery. */
  changed(): void {
    this.#change?.resolve();
    this.#change = undefined;
  }

  /** Settles at the next change. */
  change(): Promise<void> {
    return (this.#change ??= Promise.withResolvers()).promise;
  }

  #conclude(exited: Exited): void {
    this.result = attemptResult({
      ref: this.ref,
      spec: { timeoutMs: this.assignment?.spec.timeoutMs },
      exited,
      notes: this.#notes,
      stdoutBytes: this.outputs.stdout.end,
      stderrBytes: this.outputs.stderr.end,
    });
  }
}
