/**
 * Calls of the C library for which Deno has none. Only the main thread can make them: threads that
 * hold sockets have no FFI permission. They exist on Linux with glibc; elsewhere each does nothing
 * and says so by its result.
 */

const symbols = {
  signal: { parameters: ["i32", "usize"], result: "usize" },
  fcntl: { parameters: ["i32", "i32", "i32"], result: "i32" },
  prctl: { parameters: ["i32", "usize", "usize", "usize", "usize"], result: "i32" },
  waitpid: { parameters: ["i32", "buffer", "i32"], result: "i32" },
  setgroups: { parameters: ["usize", "buffer"], result: "i32" },
  setresgid: { parameters: ["u32", "u32", "u32"], result: "i32" },
  setresuid: { parameters: ["u32", "u32", "u32"], result: "i32" },
} as const;

type Libc = Deno.DynamicLibrary<typeof symbols>["symbols"];

let opened: Libc | "none" | undefined;

function libc(): Libc | undefined {
  if (opened === undefined) {
    try {
      opened = Deno.build.os === "linux" ? Deno.dlopen("libc.so.6", symbols).symbols : "none";
    } catch {
      // Another C library, or a system that forbids it: the caller is told by the result.
      opened = "none";
    }
  }
  return opened === "none" ? undefined : opened;
}

/** Numbers of signals, the same on every architecture that Deno runs on (signal(7)). */
export const signals = { SIGHUP: 1, SIGPIPE: 13, SIGCHLD: 17 } as const;

/** The highest real-time signal of Linux. */
const lastSignal = 64;

/** `SIG_DFL` and `FD_CLOEXEC` of the C headers. */
const defaultAction = 0n;
const closeOnExecFlag = 1;
const setDescriptorFlags = 2;
const setChildSubreaper = 36;
const noHang = 1;

/** Signals that this process ignores, which is inherited by whatever it starts. */
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

/** Gives these signals their default action again, here and in what is started from now on. */
export function resetSignals(numbers: readonly number[]): void {
  for (const number of numbers) libc()?.signal(number, defaultAction);
}

/**
 * Keeps descriptors above 2 that this process was started with from whatever it starts. Deno's own
 * are closed on exec already.
 *
 * @returns false where that is not possible.
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
 * Makes this process the parent of its orphaned descendants, as PID 1 is (prctl(2)); it has to
 * `reap` them then.
 */
export function adoptOrphans(): boolean {
  return libc()?.prctl(setChildSubreaper, 1n, 0n, 0n, 0n) === 0;
}

/** Takes the exit status of one child that has ended, so that its process id is free again. */
export function reap(pid: number): boolean {
  return libc()?.waitpid(pid, new Int32Array(1), noHang) === pid;
}

/**
 * Makes this process, with all its threads, one of that user for good.
 *
 * @throws where it may not.
 */
export function becomeUser(uid: number, gid: number, groups: readonly number[]): void {
  const calls = libc();
  if (calls === undefined) throw new Error("Cannot change the user: no C library that is known");
  const list = new Uint32Array(groups);
  const failed = calls.setgroups(BigInt(list.length), list) !== 0 ||
    calls.setresgid(gid, gid, gid) !== 0 || calls.setresuid(uid, uid, uid) !== 0;
  if (failed || Deno.uid() !== uid || Deno.gid() !== gid) {
    throw new Error(`Cannot become user ${uid} with group ${gid}`);
  }
}
