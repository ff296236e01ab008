/**
 * Functions of the C library that Deno does not offer. Only the main thread can call them: threads with
 * sockets have no FFI permission. They work on Linux with glibc; elsewhere they do nothing, and their
 * result shows that.
 */

import { closeSync, constants, openSync } from "node:fs"; // Deno cannot open a folder without following a link.

const symbols = {
  signal: { parameters: ["i32", "usize"], result: "usize" },
  fcntl: { parameters: ["i32", "i32", "i32"], result: "i32" },
  prctl: { parameters: ["i32", "usize", "usize", "usize", "usize"], result: "i32" },
  kill: { parameters: ["i32", "i32"], result: "i32" },
  waitpid: { parameters: ["i32", "buffer", "i32"], result: "i32" },
  setgroups: { parameters: ["usize", "buffer"], result: "i32" },
  setresgid: { parameters: ["u32", "u32", "u32"], result: "i32" },
  malloc_trim: { parameters: ["usize"], result: "i32" },
  madvise: { parameters: ["usize", "usize", "i32"], result: "i32" },
  setresuid: { parameters: ["u32", "u32", "u32"], result: "i32" },
  // Since glibc 2.30.
  getdents64: { parameters: ["i32", "buffer", "usize"], result: "isize", optional: true },
} as const;

type Libc = Deno.DynamicLibrary<typeof symbols>["symbols"];

let opened: Libc | "none" | undefined;

function libc(): Libc | undefined {
  if (opened === undefined) {
    try {
      opened = Deno.build.os === "linux" ? Deno.dlopen("libc.so.6", symbols).symbols : "none";
    } catch {
      // Another C library, or a system that forbids it: the result of each call shows it.
      opened = "none";
    }
  }
  return opened === "none" ? undefined : opened;
}

/** Numbers of signals, the same on every architecture that Deno runs on (signal(7)). */
export const signals = { SIGHUP: 1, SIGKILL: 9, SIGPIPE: 13, SIGCHLD: 17 } as const;

/** The highest real-time signal of Linux. */
const lastSignal = 64;

/** `SIG_DFL` and `FD_CLOEXEC` of the C headers. */
const defaultAction = 0n;
const closeOnExecFlag = 1;
const setDescriptorFlags = 2;
const setChildSubreaper = 36;
const noHang = 1;
const notNeeded = 4;

/** Signals that this process ignores; processes that it starts inherit this. */
export function ignoredSignals(): number[] {
  let status: string;
  try {
    status = Deno.readTextFileSync("/proc/self/status");
  } catch {
    return [];
  }
  const mask = BigInt(`0x${/^SigIgn:\s*([0-9a-f]+)/m.exec(status)?.[1] ?? "0"}`);
  const all = Array.from({ length: lastSignal }, (_, index) => index + 1);
  return all.filter((number) => (mask & (1n << BigInt(number - 1))) !== 0n);
}

/** Restores the default action of these signals, for this process and those that it starts. */
export function resetSignals(numbers: readonly number[]): void {
  for (const number of numbers) libc()?.signal(number, defaultAction);
}

/**
 * Closes on exec all descriptors above 2 that this process inherited, so that processes that it starts
 * do not get them. Deno's own descriptors are closed on exec anyway.
 *
 * @returns false if that is not possible.
 */
export function keepDescriptors(): boolean {
  const calls = libc();
  if (calls === undefined) return false;
  for (const { name } of Deno.readDirSync("/proc/self/fd")) {
    if (Number(name) > 2) calls.fcntl(Number(name), setDescriptorFlags, closeOnExecFlag);
  }
  return true;
}

/**
 * Makes this process the parent of its orphaned descendants, instead of PID 1 (prctl(2)). It must then
 * `reap` them.
 */
export function adoptOrphans(): boolean {
  return libc()?.prctl(setChildSubreaper, 1n, 0n, 0n, 0n) === 0;
}

/**
 * Sends SIGKILL to a process, or to a group by its negative id; false if there is none that it may
 * kill. Deno throws for each group that has ended, which takes as long as ten of these calls.
 *
 * @returns undefined where this process cannot call the C library.
 */
export function killByLibc(pid: number): boolean | undefined {
  const calls = libc();
  return calls === undefined ? undefined : calls.kill(pid, signals.SIGKILL) === 0;
}

/** Takes the exit status of a child that has ended, which frees its process id. */
export function reap(pid: number): boolean {
  return libc()?.waitpid(pid, new Int32Array(1), noHang) === pid;
}

/**
 * Changes the user of this process and all its threads for good.
 *
 * @throws if it may not.
 */
export function becomeUser(uid: number, gid: number, groups: readonly number[]): void {
  const calls = libc();
  if (calls === undefined) throw new Error("Cannot change the user: the C library is unknown");
  const list = new Uint32Array(groups);
  const failed = calls.setgroups(BigInt(list.length), list) !== 0 ||
    calls.setresgid(gid, gid, gid) !== 0 || calls.setresuid(uid, uid, uid) !== 0;
  if (failed || Deno.uid() !== uid || Deno.gid() !== gid) {
    throw new Error(`Cannot become user ${uid} with group ${gid}`);
  }
}

/** Of `struct linux_dirent64`, which is the same on every architecture (getdents(2)). */
const entry = { sizeAt: 16, typeAt: 18, nameAt: 19 } as const;
/** `DT_UNKNOWN` of some file systems, and `DT_DIR`. */
const mayBeFolder = [0, 4];

/**
 * The names in a folder that are not UTF-8, each invalid byte as U+FFFD, and whether it names a folder.
 * Deno 2.7 does not list them at all, later ones list them in this form. Empty where the folder cannot
 * be read: listing it says why.
 */
export function namesNotUtf8(folder: string): Map<string, boolean> {
  const found = new Map<string, boolean>();
  const read = libc()?.getdents64;
  if (typeof read !== "function") return found;
  const { O_RDONLY, O_DIRECTORY, O_NOFOLLOW } = constants;
  let descriptor: number;
  try {
    descriptor = openSync(folder, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
  } catch {
    return found;
  }
  try {
    const bytes = new Uint8Array(64 * 1024);
    const view = new DataView(bytes.buffer);
    for (let length; (length = Number(read(descriptor, bytes, BigInt(bytes.length)))) > 0;) {
      for (let at = 0; at < length;) {
        const next = at + view.getUint16(at + entry.sizeAt, isLittleEndian);
        const name = bytes.subarray(at + entry.nameAt, bytes.indexOf(0, at + entry.nameAt));
        if (name.some((byte) => byte > 0x7f) && !isUtf8(name)) {
          found.set(lossy.decode(name), mayBeFolder.includes(bytes[at + entry.typeAt]!));
        }
        at = next;
      }
    }
    return found;
  } finally {
    closeSync(descriptor);
  }
}

const isLittleEndian = new Uint8Array(new Uint16Array([1]).buffer)[0] === 1;
const lossy = new TextDecoder();

function isUtf8(bytes: Uint8Array): boolean {
  try {
    new TextDecoder("utf-8", { fatal: true }).decode(bytes);
    return true;
  } catch {
    return false;
  }
}

/** Returns what all threads have freed to the system (malloc_trim(3)). */
export function trimMemory(): void {
  libc()?.malloc_trim(0n);
}

/**
 * Takes the program's code and constants out of this process's memory. What is used comes back at once,
 * from the system's cache of the file; what only the start or rare work needs stays away. Only pages that
 * were never written, so that nothing can be lost.
 */
export function leaveProgram(): void {
  const calls = libc();
  if (calls === undefined) return;
  const program = Deno.execPath();
  // Each mapping is a line with its range, its rights and its file, and lines of figures.
  for (const mapping of Deno.readTextFileSync("/proc/self/smaps").split(/^(?=[0-9a-f]+-)/m)) {
    const [, from, to, file] =
      /^([0-9a-f]+)-([0-9a-f]+) r-[x-]p \S+ \S+ \S+ +(.*)$/m.exec(mapping) ?? [];
    // proc_pid_smaps(5): written pages, as of the tables that the loader has filled, count as anonymous.
    if (file !== program || !/^Anonymous: +0 kB$/m.test(mapping)) continue;
    const start = BigInt(`0x${from}`);
    calls.madvise(start, BigInt(`0x${to}`) - start, notNeeded);
  }
}
