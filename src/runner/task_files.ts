import { createHash } from "node:crypto";
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
 * Processes at once. Each takes about 55 MiB, and one that has to be given up keeps others waiting
 * for `stuckMs`.
 */
const maxProcesses = 2;

/** A process without a job is ended after this time; starting one takes 30 ms of a processor. */
const idleMs = 10_000;

/** Without a word for so long it is stuck, and killed. A start on a busy host takes some seconds. */
const stuckMs = 20_000;

/** At the end of the worker, until one that still works is killed. */
const endMs = 2_000;

/** For one removal, however busy it is: a task's own file system may serve entries without end. */
const longestRemovalMs = 30 * 60_000;

export interface TaskFilesOptions {
  /** How to start this program in that mode; the user is appended. */
  command: GuardianCommand;
  user: TaskUser;
  /** Starts it where no attempt is. */
  apart: (start: () => Deno.ChildProcess) => Deno.ChildProcess;
  /** The guardian ends it with the worker. */
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
   * Removes a folder whose parent no task can write.
   *
   * @throws where something of it is left.
   */
  async remove(folder: string): Promise<void> {
    if (removeEmpty(folder)) return;
    let notes: string[] = [];
    await this.#run({ kind: "empty", folder }, (answer) => {
      if (answer.kind === "done") notes = answer.notes;
    });
    if (!removeEmpty(folder)) throw new Error(notes[0] ?? "It is not empty");
  }

  /** Copies the artifacts of an attempt whose processes have ended into a folder that no task can write. */
  async collect(
    query: ArtifactQuery,
    into: string,
  ): Promise<{ files: Collected[]; notes: string[] }> {
    const copies = new Copies(into, query.maxFiles);
    try {
      await this.#run({ kind: "collect", ...query }, (answer) => copies.hear(answer));
    } catch (error) {
      copies.notes.push(`Not all artifacts could be collected: ${messageOf(error)}`);
    } finally {
      copies.endFile("reading it did not end");
    }
    return { files: copies.files, notes: copies.notes };
  }

  /** Whether it refuses new work. */
  get isClosing(): boolean {
    return this.#closing;
  }

  /** Ends all processes; what they had to do is not done. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#closing = true;
    await Promise.all([...this.#all].map((helper) => helper[Symbol.asyncDispose]()));
  }

  async #run(job: Job, hear: Hear): Promise<void> {
    if (this.#running >= maxProcesses) {
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    }
    this.#running++;
    try {
      if (this.#closing) throw new Error("The worker stops");
      const helper = this.#idle.pop() ?? this.#start();
      await helper.run(job, hear);
      this.#idle.push(helper);
      helper.rest(this.#bounds.idleMs);
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

/** One system call on a name that no task can replace; it refuses what is not an empty folder. */
function removeEmpty(folder: string): boolean {
  try {
    Deno.removeSync(folder);
    return true;
  } catch (error) {
    return error instanceof Deno.errors.NotFound;
  }
}

type Heard = Answer | { kind: "data"; data: Uint8Array };
type Hear = (answer: Heard) => void | Promise<void>;

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
    this.#input.closed.catch(() => {/* The end of the process says the same. */});
    this.#frames = decodeFrames(child.stdout);
    this.ended = child.status.then(() => unwatch(child.pid));
  }

  /** @throws where the process ends before the job is done, or is stuck; then it is gone. */
  async run(job: Job, hear: Hear): Promise<void> {
    clearTimeout(this.#idleTimer);
    const endAt = performance.now() + (job.kind === "empty" ? longestRemovalMs : Infinity);
    try {
      await this.#input.write(new TextEncoder().encode(JSON.stringify(job) + "\n"));
      for (;;) {
        const { done, value } = await this.#next();
        if (done) throw new Error("The process that reads tasks' files ended");
        const heard = understood(value);
        await hear(heard);
        if (performance.now() > endAt) throw new Error("It took too long");
        if (heard.kind === "done") return;
      }
    } catch (error) {
      signal(this.#child.pid, "SIGKILL");
      await this.ended;
      throw error;
    }
  }

  /** Ends it after a while, unless it gets another job. */
  rest(forMs: number): void {
    this.#idleTimer = setTimeout(() => void this[Symbol.asyncDispose](), forMs);
  }

  async #next(): Promise<IteratorResult<{ type: number; content: Uint8Array }>> {
    const stuck = Promise.withResolvers<never>();
    const timer = setTimeout(
      () => stuck.reject(new Error(`Reading did not go on for ${this.stuckMs / 1000} s`)),
      this.stuckMs,
    );
    const next = this.#frames.next();
    next.catch(() => {/* Only the first of the two is waited for. */});
    try {
      return await Promise.race([next, stuck.promise]);
    } finally {
      clearTimeout(timer);
    }
  }

  /** It ends at the end of its input, or is killed. */
  async [Symbol.asyncDispose](): Promise<void> {
    clearTimeout(this.#idleTimer);
    this.#input.close().catch(() => {/* It is gone already. */});
    const timer = setTimeout(() => signal(this.#child.pid, "SIGKILL"), endMs);
    await this.ended;
    clearTimeout(timer);
  }
}

function understood({ type, content }: { type: number; content: Uint8Array }): Heard {
  if (type === frame.data) return { kind: "data", data: content };
  if (type !== frame.json) throw new TypeError("A frame is of no known type");
  return JSON.parse(new TextDecoder().decode(content)) as Answer;
}

/** Where Deno keeps its modules: of use only to a worker that runs from source. */
function inherited(): Record<string, string> {
  const names = Deno.build.standalone ? [] : ["HOME", "DENO_DIR", "XDG_CACHE_HOME"];
  return Object.fromEntries(
    names.map((name) => [name, Deno.env.get(name)]).filter(([, value]) => value !== undefined),
  );
}

/** What a process of the tasks' user says that it read, written where no task can change it. */
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

  constructor(private readonly into: string, private readonly maxFiles: number) {}

  /** @throws {TypeError} where the process says what ours would not. */
  hear(answer: Heard): void | Promise<void> {
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
    // Half a file on a disk that is full now helps nobody.
    Deno.removeSync(entry.file);
    this.notes.push(`Artifact "${entry.path}" was left out: ${why}`);
  }

  #begin({ path, size, mode }: Extract<Answer, { kind: "file" }>): void {
    const parts = String(path).split("/");
    const isOdd = parts.some((part) => part === "" || part === "." || part === "..") ||
      path.includes("\0");
    if (isOdd || this.#open !== undefined || ++this.#begun > this.maxFiles) {
      throw new TypeError("An artifact that was not asked for");
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
    // Its copy could not be made.
    if (open === undefined || open.problem !== undefined) return;
    open.entry.size += data.length;
    if (open.entry.size > open.announced) throw new TypeError("An artifact is longer than it was");
    try {
      for (let done = 0; done < data.length;) done += await open.file.write(data.subarray(done));
      open.hash.update(data);
    } catch (error) {
      open.problem = messageOf(error);
    }
  }
}
