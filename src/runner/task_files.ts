import { createHash } from "node:crypto";
import { statfsSync } from "node:fs"; // Deno has no call of its own for free space.
import { dirname, join } from "node:path";
import { messageOf } from "../base/errors.ts";
import type { Log } from "../base/log.ts";
import type { Collected } from "../tasks/orders.ts";
import type { ArtifactQuery } from "./artifact_search.ts";
import type { GuardianCommand } from "./guardian_protocol.ts";
import { findLauncher } from "./launch.ts";
import { signal } from "./leftover_processes.ts";
import { type Answer, decodeFrames, frame, type Job } from "./task_files_protocol.ts";
import type { TaskUser } from "./user.ts";

/**
 * Processes at once. Each takes about 55 MiB, and one that hangs makes the others wait for `stuckMs`
 * before it is killed.
 */
const maxProcesses = 2;

/** A process without a job ends after this time. Starting one takes 30 ms of CPU time. */
const idleMs = 10_000;

/** A process that sends nothing for this time hangs, and is killed. A start on a busy host takes seconds. */
const stuckMs = 20_000;

/**
 * How often a job is begun if its process ends by itself. The guardian ends it when the worker was
 * stopped for a while; a task's result must not be short of its artifacts for that.
 */
const maxStarts = 3;

/** When the worker stops: how long a process may still work before it is killed. */
const endMs = 2_000;

/** For one removal, even if it makes progress: a task's own file system may list entries forever. */
const longestRemovalMs = 30 * 60_000;

export interface TaskFilesOptions {
  /** Starts this program in the mode for tasks' files; the user is appended as an argument. */
  command: GuardianCommand;
  user: TaskUser;
  /** Starts it outside the cgroup of any attempt. */
  apart: (start: () => Deno.ChildProcess) => Deno.ChildProcess;
  /** Tells the guardian to end it together with the worker. */
  watch: (pid: number) => void;
  unwatch: (pid: number) => void;
  log: Log;
  bounds?: { stuckMs: number; idleMs: number };
}

/**
 * Everything that the worker does in folders that tasks can write, by processes that run as the
 * tasks' user and can be killed: see task_files_process.ts.
 */
export class TaskFiles implements AsyncDisposable {
  readonly #idle: Helper[] = [];
  readonly #all = new Set<Helper>();
  readonly #waiting: (() => void)[] = [];
  #running = 0;
  #closing = false;
  readonly #bounds: { stuckMs: number; idleMs: number };

  constructor(private readonly options: TaskFilesOptions) {
    this.#bounds = options.bounds ?? { stuckMs, idleMs };
  }

  /**
   * Removes a folder. No task may be able to write to its parent.
   *
   * @throws if something could not be removed.
   */
  async remove(folder: string): Promise<void> {
    if (removeEmpty(folder)) return;
    let notes: string[] = [];
    await this.#run({ kind: "empty", folder }, (answer) => {
      if (answer.kind === "done") notes = answer.notes;
    });
    if (!removeEmpty(folder)) throw new Error(notes[0] ?? "It is not empty");
  }

  /**
   * Copies the artifacts of an ended attempt into a folder that no task can write.
   *
   * @param signal ends it; the file that is being copied and all later ones are left out.
   */
  async collect(
    query: ArtifactQuery,
    into: string,
    signal?: AbortSignal,
  ): Promise<{ files: Collected[]; notes: string[] }> {
    const maxBytes = spaceBelow(dirname(into));
    const most = { maxFiles: query.maxFiles, maxBytes };
    let copies = new Copies(into, most);
    const receive = (answer: Received) => {
      signal?.throwIfAborted();
      return copies.receive(answer);
    };
    const restart = () => {
      copies.discard();
      copies = new Copies(into, most);
    };
    try {
      await this.#run({ kind: "collect", ...query, maxBytes }, receive, restart);
    } catch (error) {
      copies.notes.push(`Not all artifacts could be collected: ${messageOf(error)}`);
    } finally {
      copies.endFile("it was not read to its end");
    }
    return { files: copies.files, notes: copies.notes };
  }

  /** Whether it refuses new work. */
  get isClosing(): boolean {
    return this.#closing;
  }

  /** Ends all processes; their unfinished jobs fail. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#closing = true;
    await Promise.all([...this.#all].map((helper) => helper[Symbol.asyncDispose]()));
  }

  /** @param restart forgets what was received: the job begins again, in another process. */
  async #run(job: Job, receive: Receive, restart = () => {}): Promise<void> {
    if (this.#running >= maxProcesses) {
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    }
    this.#running++;
    try {
      for (let starts = 1;; starts++) {
        if (this.#closing) throw new Error("The worker is stopping");
        const helper = this.#idle.pop() ?? this.#start();
        const end = await helper.run(job, receive);
        if (end === "done") {
          this.#idle.push(helper);
          return helper.rest(this.#bounds.idleMs);
        }
        if (starts === maxStarts) throw new Error("The process that reads tasks' files ended");
        restart();
      }
    } finally {
      this.#running--;
      this.#waiting.shift()?.();
    }
  }

  #start(): Helper {
    const helper = new Helper(this.options, this.#bounds.stuckMs);
    this.#all.add(helper);
    void helper.ended.then(() => {
      this.#all.delete(helper);
      const at = this.#idle.indexOf(helper);
      if (at >= 0) this.#idle.splice(at, 1);
    });
    return helper;
  }
}

/** One system call on a name that no task can replace; it fails on anything but an empty folder. */
function removeEmpty(folder: string): boolean {
  try {
    Deno.removeSync(folder);
    return true;
  } catch (error) {
    return error instanceof Deno.errors.NotFound;
  }
}

type Received = Answer | { kind: "data"; data: Uint8Array };
type Receive = (answer: Received) => void | Promise<void>;

/** One process. */
class Helper implements AsyncDisposable {
  readonly #child: Deno.ChildProcess;
  readonly #input: WritableStreamDefaultWriter<Uint8Array>;
  readonly #frames: AsyncGenerator<{ type: number; content: Uint8Array }>;
  readonly ended: Promise<void>;
  #idleTimer: ReturnType<typeof setTimeout> | undefined;

  constructor(options: TaskFilesOptions, private readonly stuckMs: number) {
    const { command, user, apart, watch, unwatch } = options;
    const argument = JSON.stringify({ ids: user.ids });
    const line = [command.command, ...command.args, argument];
    const { setsid } = findLauncher();
    if (setsid !== undefined) line.unshift(setsid);
    const start = new Deno.Command(line[0]!, {
      args: line.slice(1),
      ...(setsid === undefined ? { detached: true } : {}),
      clearEnv: true,
      env: { LC_ALL: "C", ...inherited() },
      cwd: "/",
      stdin: "piped",
      stdout: "piped",
      stderr: "null",
    });
    const child = this.#child = apart(() => start.spawn());
    watch(child.pid);
    this.#input = child.stdin.getWriter();
    this.#input.closed.catch(() => {/* The end of the process reports this. */});
    this.#frames = decodeFrames(child.stdout);
    this.ended = child.status.then(() => unwatch(child.pid));
  }

  /**
   * @returns `ended` if the process ended before the job was done.
   * @throws if it hangs or is refused; it is killed then.
   */
  async run(job: Job, receive: Receive): Promise<"done" | "ended"> {
    clearTimeout(this.#idleTimer);
    const endAt = performance.now() + (job.kind === "empty" ? longestRemovalMs : Infinity);
    try {
      const text = new TextEncoder().encode(JSON.stringify(job) + "\n");
      // If it has ended, so has what it sends.
      await this.#input.write(text).catch(() => {});
      for (;;) {
        const { done, value } = await this.#next();
        if (done) return "ended";
        const received = decoded(value);
        await receive(received);
        if (performance.now() > endAt) throw new Error("It took too long");
        if (received.kind === "done") return "done";
      }
    } catch (error) {
      signal(this.#child.pid, "SIGKILL");
      await this.ended;
      throw error;
    }
  }

  /** Ends it after this time, unless it gets another job. */
  rest(forMs: number): void {
    this.#idleTimer = setTimeout(() => void this[Symbol.asyncDispose](), forMs);
  }

  async #next(): Promise<IteratorResult<{ type: number; content: Uint8Array }>> {
    const stuck = Promise.withResolvers<never>();
    // In steps: while this process is stopped, the silence of the other one says nothing.
    const stepMs = this.stuckMs / 10;
    let silentMs = 0;
    const timer = setInterval(() => {
      silentMs += stepMs;
      if (silentMs < this.stuckMs) return;
      stuck.reject(new Error(`Reading made no progress for ${this.stuckMs / 1000} s`));
    }, stepMs);
    const next = this.#frames.next();
    next.catch(() => {/* The timeout won the race. */});
    try {
      return await Promise.race([next, stuck.promise]);
    } finally {
      clearInterval(timer);
    }
  }

  /** Closes its input, which ends it; kills it if it does not end in time. */
  async [Symbol.asyncDispose](): Promise<void> {
    clearTimeout(this.#idleTimer);
    this.#input.close().catch(() => {/* It has ended already. */});
    const timer = setTimeout(() => signal(this.#child.pid, "SIGKILL"), endMs);
    await this.ended;
    clearTimeout(timer);
  }
}

function decoded({ type, content }: { type: number; content: Uint8Array }): Received {
  if (type === frame.data) return { kind: "data", data: content };
  if (type !== frame.json) throw new TypeError("A frame has an unknown type");
  return JSON.parse(new TextDecoder().decode(content)) as Answer;
}

/** The variables that tell Deno where its modules are: needed only when it runs from source. */
function inherited(): Record<string, string> {
  const names = Deno.build.standalone ? [] : ["HOME", "DENO_DIR", "XDG_CACHE_HOME"];
  return Object.fromEntries(
    names.map((name) => [name, Deno.env.get(name)]).filter(([, value]) => value !== undefined),
  );
}

/** Writes the files that a process with the tasks' user has read to a folder that no task can write. */
class Copies {
  readonly files: Collected[] = [];
  readonly notes: string[] = [];
  #open: {
    file: Deno.FsFile;
    entry: Omit<Collected, "sha256">;
    announced: number;
    hash: ReturnType<typeof createHash>;
    problem: string | undefined;
  } | undefined;

  #begun = 0;

  #bytes = 0;

  constructor(
    private readonly into: string,
    private readonly most: { maxFiles: number; maxBytes: number },
  ) {}

  /** @throws {TypeError} for a message that our own process would never send. */
  receive(answer: Received): void | Promise<void> {
    switch (answer.kind) {
      case "file":
        return this.#begin(answer);
      case "data":
        return this.#append(answer.data);
      case "file_end":
        return this.endFile(answer.problem);
      case "done":
        this.notes.push(...answer.notes.map(String));
    }
  }

  endFile(problem: string | undefined): void {
    if (this.#open === undefined) return;
    const { file, entry, hash, problem: own } = this.#open;
    this.#open = undefined;
    file.close();
    const why = own ?? problem;
    if (why === undefined) return void this.files.push({ ...entry, sha256: hash.digest("hex") });
    // Part of a file is useless, and its space may be needed: the disk may be full.
    Deno.removeSync(entry.file);
    this.notes.push(`Artifact "${entry.path}" was left out: ${why}`);
  }

  /** Removes what was copied, for another try. */
  discard(): void {
    this.#open?.file.close();
    this.#open = undefined;
    try {
      Deno.removeSync(this.into, { recursive: true });
    } catch (error) {
      if (!(error instanceof Deno.errors.NotFound)) throw error;
    }
  }

  #begin({ path, size, mode }: Extract<Answer, { kind: "file" }>): void {
    const parts = String(path).split("/");
    const isOdd = parts.some((part) => part === "" || part === "." || part === "..") ||
      path.includes("\0");
    this.#bytes += size;
    const isTooMuch = ++this.#begun > this.most.maxFiles || !(this.#bytes <= this.most.maxBytes);
    if (isOdd || this.#open !== undefined || isTooMuch) {
      throw new TypeError("The process sent an artifact that was not requested");
    }
    const target = join(this.into, path);
    try {
      Deno.mkdirSync(dirname(target), { recursive: true, mode: 0o700 });
      const file = Deno.openSync(target, { write: true, createNew: true, mode: 0o600 });
      const entry = { path, file: target, size: 0, mode: mode & 0o777 };
      const hash = createHash("sha256");
      this.#open = { file, entry, announced: size, hash, problem: undefined };
    } catch (error) {
      this.notes.push(`Artifact "${path}" was left out: ${messageOf(error)}`);
    }
  }

  async #append(data: Uint8Array): Promise<void> {
    const open = this.#open;
    // The copy could not be created or written.
    if (open === undefined || open.problem !== undefined) return;
    open.entry.size += data.length;
    if (open.entry.size > open.announced) {
      throw new TypeError("An artifact is longer than announced");
    }
    try {
      for (let done = 0; done < data.length;) done += await open.file.write(data.subarray(done));
      open.hash.update(data);
    } catch (error) {
      open.problem = messageOf(error);
    }
  }
}

/** The disk space that artifacts leave free: a share, and never more than this. */
const spare = { share: 0.05, bytes: 1024 ** 3 };

/**
 * Bytes that may be copied. A sparse file takes no space until it is copied, so without a limit a task
 * could fill the disk with one of any size.
 */
function spaceBelow(folder: string): number {
  try {
    const { bsize, blocks, bavail } = statfsSync(folder);
    // Some network and container file systems know no sizes.
    if (blocks === 0) return Number.MAX_SAFE_INTEGER;
    return bavail * bsize - Math.min(spare.bytes, blocks * bsize * spare.share);
  } catch {
    return Number.MAX_SAFE_INTEGER; // A disk that is full is noticed by writing, too.
  }
}
