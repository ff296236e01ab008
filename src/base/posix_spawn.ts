/**
 * posix_spawn(3) by the C library, which needs half of the processor time of Deno's own spawn and
 * makes a session without a further program (measured, /bin/true with two pipes: 1.35 ms each with
 * all that the kernel does, against 2.7 ms through setsid(1); `xargs` needs 1.75).
 *
 * Only the main thread can call it, as all of libc.ts. All pipes and ends of processes are waited
 * for by one epoll(7): one blocking call on a thread of the runtime, which runs only while there is
 * a process.
 */

const symbols = {
  posix_spawn: {
    parameters: ["buffer", "buffer", "buffer", "buffer", "buffer", "buffer"],
    result: "i32",
  },
  posix_spawnattr_init: { parameters: ["buffer"], result: "i32" },
  posix_spawnattr_setflags: { parameters: ["buffer", "i16"], result: "i32" },
  posix_spawnattr_setsigdefault: { parameters: ["buffer", "buffer"], result: "i32" },
  posix_spawnattr_setsigmask: { parameters: ["buffer", "buffer"], result: "i32" },
  posix_spawn_file_actions_init: { parameters: ["buffer"], result: "i32" },
  posix_spawn_file_actions_destroy: { parameters: ["buffer"], result: "i32" },
  posix_spawn_file_actions_adddup2: { parameters: ["buffer", "i32", "i32"], result: "i32" },
  posix_spawn_file_actions_addopen: {
    parameters: ["buffer", "i32", "buffer", "i32", "u32"],
    result: "i32",
  },
  posix_spawn_file_actions_addchdir_np: { parameters: ["buffer", "buffer"], result: "i32" },
  pipe2: { parameters: ["buffer", "i32"], result: "i32" },
  fcntl: { parameters: ["i32", "i32", "i32"], result: "i32" },
  close: { parameters: ["i32"], result: "i32" },
  read: { parameters: ["i32", "buffer", "usize"], result: "i32" },
  waitpid: { parameters: ["i32", "buffer", "i32"], result: "i32" },
  syscall: { parameters: ["i64", "i64", "i64"], result: "i32" },
  eventfd: { parameters: ["u32", "i32"], result: "i32" },
  eventfd_write: { parameters: ["i32", "u64"], result: "i32" },
  epoll_create1: { parameters: ["i32"], result: "i32" },
  epoll_ctl: { parameters: ["i32", "i32", "i32", "buffer"], result: "i32" },
  epoll_wait: { parameters: ["i32", "buffer", "i32", "i32"], result: "i32", nonblocking: true },
} as const;

type Libc = Deno.DynamicLibrary<typeof symbols>["symbols"];

/** Of the C headers; the same on x86_64 and aarch64, which are all that Deno runs on. */
const setSession = 0x80;
const setSignalDefaults = 0x04;
const setSignalMask = 0x08;
const closeOnExec = 0o2000000;
const nonBlocking = 0o4000;
const setStatusFlags = 4;
const noHang = 1;
const pidfdOpen = 434n;
const [readable, edgeTriggered] = [0x1, 1 << 31];
const [addEntry, deleteEntry] = [1, 2];

/** Room for a posix_spawnattr_t (336 bytes), a posix_spawn_file_actions_t (80) and a sigset_t (128). */
const structBytes = 512;

/** `struct epoll_event` has no gap on x86_64 alone. */
const event = Deno.build.arch === "x86_64" ? { bytes: 12, data: 4 } : { bytes: 16, data: 8 };

/** Events taken by one call. */
const mostEvents = 64;

/** The capacity of a pipe on Linux, so the most that one read returns. */
const readBytes = 64n * 1024n;

/** Names in signal(7), from number 1; the same on both architectures. */
const signalNames =
  ("HUP INT QUIT ILL TRAP ABRT BUS FPE KILL USR1 SEGV USR2 PIPE ALRM TERM STKFLT CHLD CONT STOP " +
    "TSTP TTIN TTOU URG XCPU XFSZ VTALRM PROF WINCH IO PWR SYS").split(" ");

/** How a process ended. A signal without a name, a real-time one, is an exit code as in a shell. */
export interface Exit {
  exitCode: number | undefined;
  signal: string | undefined;
}

/** One output of a process. */
export interface Output {
  /** The next bytes; undefined at the end, and after `close`. One call at a time. */
  read(): Promise<Uint8Array<ArrayBuffer> | undefined>;
  close(): void;
}

/** A running process: it leads a session and a group of its own. */
export interface Spawned {
  pid: number;
  stdout: Output;
  stderr: Output;
  /** Settles at its end, when its id is free. */
  ended: Promise<Exit>;
}

export interface SpawnRequest {
  /** The path of the program, and its arguments. */
  line: readonly string[];
  env: Readonly<Record<string, string>>;
  folder: string;
}

/** Starts processes whose standard input is empty and whose signals are as after login. */
export class Spawner {
  readonly #attributes = new Uint8Array(structBytes);
  readonly #actions = new Uint8Array(structBytes);
  readonly #texts = new Texts();
  readonly #pair = new Int32Array(2);
  readonly #pid = new Int32Array(1);
  readonly #events: Events;

  private constructor(private readonly libc: Libc) {
    this.#events = new Events(libc);
    libc.posix_spawnattr_init(this.#attributes);
    const flags = setSession | setSignalDefaults | setSignalMask;
    libc.posix_spawnattr_setflags(this.#attributes, flags);
    libc.posix_spawnattr_setsigdefault(this.#attributes, new Uint8Array(structBytes).fill(0xff));
    libc.posix_spawnattr_setsigmask(this.#attributes, new Uint8Array(structBytes));
  }

  /** Undefined where the C library, or the kernel (pidfd_open(2) is of Linux 5.3), cannot do it. */
  static open(): Spawner | undefined {
    if (Deno.build.os !== "linux") return undefined;
    try {
      const libc = Deno.dlopen("libc.so.6", symbols).symbols;
      const own = libc.syscall(pidfdOpen, BigInt(Deno.pid), 0n);
      if (own < 0) return undefined;
      libc.close(own);
      return new Spawner(libc);
    } catch {
      // Another C library, an older one, or a system that forbids it.
      return undefined;
    }
  }

  /** Undefined if it could not be started, for a reason that another way of starting finds, too. */
  spawn({ line, env, folder }: SpawnRequest): Spawned | undefined {
    const { libc } = this;
    const stdout = this.#pipe();
    if (stdout === undefined) return undefined;
    const stderr = this.#pipe();
    if (stderr === undefined) return void this.#close(...stdout);
    const texts = this.#texts;
    texts.set([line[0]!, folder, "/dev/null"], line, env);
    const [path, cwd, empty] = texts.single;
    const actions = this.#actions;
    libc.posix_spawn_file_actions_init(actions);
    libc.posix_spawn_file_actions_addchdir_np(actions, cwd!);
    libc.posix_spawn_file_actions_addopen(actions, 0, empty!, 0, 0);
    libc.posix_spawn_file_actions_adddup2(actions, stdout[1], 1);
    libc.posix_spawn_file_actions_adddup2(actions, stderr[1], 2);
    const { args, variables } = texts;
    const failed = libc.posix_spawn(this.#pid, path!, actions, this.#attributes, args, variables);
    libc.posix_spawn_file_actions_destroy(actions);
    this.#close(stdout[1], stderr[1]);
    if (failed !== 0) {
      return void this.#close(stdout[0], stderr[0]);
    }
    const pid = this.#pid[0]!;
    return {
      pid,
      stdout: new PipeOutput(libc, this.#events, stdout[0]),
      stderr: new PipeOutput(libc, this.#events, stderr[0]),
      ended: this.#endOf(pid),
    };
  }

  #endOf(pid: number): Promise<Exit> {
    const { libc } = this;
    const descriptor = libc.syscall(pidfdOpen, BigInt(pid), 0n);
    return new Promise((resolve, reject) => {
      // Without a further descriptor the end shows itself to one who looks.
      if (descriptor < 0) return void pollExit(libc, pid).then(resolve, reject);
      const id = this.#events.add(descriptor, () => {
        const exit = exitOf(libc, pid);
        if (exit === undefined) return;
        this.#events.remove(id, descriptor);
        libc.close(descriptor);
        if (exit instanceof Error) reject(exit);
        else resolve(exit);
      });
    });
  }

  /** The read and the write end; processes that other code starts meanwhile get neither. */
  #pipe(): [number, number] | undefined {
    const { libc } = this;
    if (libc.pipe2(this.#pair, closeOnExec) !== 0) return undefined;
    const [read, write] = this.#pair as unknown as [number, number];
    libc.fcntl(read, setStatusFlags, nonBlocking);
    return [read, write];
  }

  #close(...descriptors: number[]): void {
    for (const descriptor of descriptors) this.libc.close(descriptor);
  }
}

const waitStatus = new Int32Array(1);

/** Undefined while it runs. */
function exitOf(libc: Libc, pid: number): Exit | Error | undefined {
  const found = libc.waitpid(pid, waitStatus, noHang);
  if (found === 0) return undefined;
  if (found !== pid) return new Error(`Cannot read the exit status of process ${pid}`);
  const status = waitStatus[0]!;
  const number = status & 0x7f;
  if (number === 0) return { exitCode: (status >> 8) & 0xff, signal: undefined };
  const name = signalNames[number - 1];
  return name === undefined
    ? { exitCode: 128 + number, signal: undefined }
    : { exitCode: undefined, signal: `SIG${name}` };
}

async function pollExit(libc: Libc, pid: number): Promise<Exit> {
  for (;;) {
    const exit = exitOf(libc, pid);
    if (exit instanceof Error) throw exit;
    if (exit !== undefined) return exit;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

/** What is read into first; all reads are synchronous. */
const readBuffer = new Uint8Array(Number(readBytes));

class PipeOutput implements Output {
  readonly #id: number;
  /** There may be bytes, or the end. */
  #isReady = false;
  #isOpen = true;
  #wake: (() => void) | undefined;

  constructor(
    private readonly libc: Libc,
    private readonly events: Events,
    private readonly descriptor: number,
  ) {
    this.#id = events.add(descriptor, () => {
      this.#isReady = true;
      this.#wake?.();
    });
  }

  async read(): Promise<Uint8Array<ArrayBuffer> | undefined> {
    while (this.#isOpen) {
      if (!this.#isReady) await new Promise<void>((resolve) => this.#wake = resolve);
      this.#wake = undefined;
      if (!this.#isOpen) break;
      const count = this.libc.read(this.descriptor, readBuffer, readBytes);
      if (count > 0) return readBuffer.slice(0, count);
      if (count === 0) break;
      this.#isReady = false;
    }
    this.close();
    return undefined;
  }

  close(): void {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    this.events.remove(this.#id, this.descriptor);
    this.libc.close(this.descriptor);
    this.#isReady = true;
    this.#wake?.();
  }
}

/** Calls back when something can be read; one call of epoll_wait(2) waits for all. */
class Events {
  readonly #epoll: number;
  readonly #wakeup: number;
  readonly #entries = new Map<number, () => void>();
  readonly #entry = new Uint8Array(event.bytes);
  readonly #entryView = new DataView(this.#entry.buffer);
  readonly #found = new Uint8Array(event.bytes * mostEvents);
  readonly #foundView = new DataView(this.#found.buffer);
  #lastId = 0;
  #isWaiting = false;
  #isBlocked = false;

  constructor(private readonly libc: Libc) {
    this.#epoll = libc.epoll_create1(closeOnExec);
    this.#wakeup = libc.eventfd(0, closeOnExec | nonBlocking);
    this.#control(addEntry, this.#wakeup, 0);
  }

  /** @returns its id: a descriptor's number is used again, also for events that are already found. */
  add(descriptor: number, ready: () => void): number {
    const id = this.#lastId = (this.#lastId + 1) >>> 0 || 1;
    this.#entries.set(id, ready);
    this.#control(addEntry, descriptor, id);
    if (!this.#isWaiting) void this.#wait();
    return id;
  }

  /** To be called before the descriptor is closed: a process that is being started may share it. */
  remove(id: number, descriptor: number): void {
    this.#control(deleteEntry, descriptor, id);
    this.#entries.delete(id);
    const isLast = this.#entries.size === 0;
    if (isLast && this.#isBlocked) this.libc.eventfd_write(this.#wakeup, 1n);
  }

  #control(what: number, descriptor: number, id: number): void {
    this.#entryView.setUint32(0, readable | edgeTriggered, true);
    this.#entryView.setUint32(event.data, id, true);
    this.libc.epoll_ctl(this.#epoll, what, descriptor, this.#entry);
  }

  async #wait(): Promise<void> {
    this.#isWaiting = true;
    while (this.#entries.size > 0) {
      this.#isBlocked = true;
      const count = await this.libc.epoll_wait(this.#epoll, this.#found, mostEvents, -1);
      this.#isBlocked = false;
      for (let at = 0; at < count; at++) {
        const id = this.#foundView.getUint32(at * event.bytes + event.data, true);
        this.#entries.get(id)?.();
      }
    }
    this.#isWaiting = false;
  }
}

const encoder = new TextEncoder();

/** Texts in the form of C, in memory that is used again. */
class Texts {
  #bytes = new Uint8Array(16 * 1024);
  #base = addressOf(this.#bytes);
  #pointers = new BigUint64Array(256);
  #end = 0;
  single: Uint8Array<ArrayBuffer>[] = [];
  args: BigUint64Array<ArrayBuffer> = this.#pointers;
  variables: BigUint64Array<ArrayBuffer> = this.#pointers;

  set(
    single: readonly string[],
    args: readonly string[],
    variables: Readonly<Record<string, string>>,
  ): void {
    const lines = Object.entries(variables).map(([name, value]) => `${name}=${value}`);
    const all = [...single, ...args, ...lines];
    this.#reserve(all.reduce((sum, { length }) => sum + length * 3 + 1, 0), all.length + 2);
    this.single = single.map((text) => this.#bytes.subarray(this.#add(text)));
    this.args = this.#list(0, args);
    this.variables = this.#list(args.length + 1, lines);
  }

  #reserve(bytes: number, pointers: number): void {
    this.#end = 0;
    if (bytes > this.#bytes.length) {
      this.#bytes = new Uint8Array(bytes);
      this.#base = addressOf(this.#bytes);
    }
    if (pointers > this.#pointers.length) this.#pointers = new BigUint64Array(pointers);
  }

  /** @returns where it begins. */
  #add(text: string): number {
    const start = this.#end;
    const { written } = encoder.encodeInto(text, this.#bytes.subarray(start));
    this.#end = start + written + 1;
    this.#bytes[this.#end - 1] = 0;
    return start;
  }

  /** Pointers to the texts, and a null pointer. */
  #list(at: number, texts: readonly string[]): BigUint64Array<ArrayBuffer> {
    texts.forEach((text, index) => {
      this.#pointers[at + index] = this.#base + BigInt(this.#add(text));
    });
    this.#pointers[at + texts.length] = 0n;
    return this.#pointers.subarray(at);
  }
}

function addressOf(bytes: Uint8Array<ArrayBuffer>): bigint {
  return BigInt(Deno.UnsafePointer.value(Deno.UnsafePointer.of(bytes)));
}
