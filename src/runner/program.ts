import { isAbsolute, join } from "node:path";

/** Where programs are looked for when the task says nothing: what login(1) gives root. */
export const defaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/** Exit codes of shells for a command that is not there, or cannot be executed (POSIX, 2.8.2). */
const notFoundCode = 127;
const notExecutableCode = 126;

export type Resolved =
  | { path: string }
  | { exitCode: number | undefined; reason: string };

export interface ProgramSearch {
  /** As the task names it. */
  program: string;
  /** PATH of the task's environment. */
  path: string;
  /** The folder in which the task starts. */
  folder: string;
  /** Real paths of the programs that tasks may start; undefined: all. */
  allowed: ReadonlySet<string> | undefined;
}

/**
 * Finds a task's program as execvp(3) would, and checks it against `worker.allow_commands`. With
 * such a list the real path is what gets started, so that nobody can turn a link between the check
 * and the start; without one the path as found, since some programs look at their own name.
 */
export function resolveProgram({ program, path, folder, allowed }: ProgramSearch): Resolved {
  const candidates = program.includes("/")
    ? [isAbsolute(program) ? program : join(folder, program)]
    : path.split(":").map((part) => join(isAbsolute(part) ? part : join(folder, part), program));
  let unusable: string | undefined;
  for (const candidate of candidates) {
    const state = executable(candidate);
    if (state === "missing") continue;
    if (state !== "yes") {
      unusable ??= `${quote(candidate)} ${state}`;
      continue;
    }
    if (allowed === undefined) return { path: candidate };
    const real = Deno.realPathSync(candidate);
    if (allowed.has(real)) return { path: real };
    return {
      exitCode: notExecutableCode,
      reason: `This worker may not start ${quote(real)}: it is not in worker.allow_commands`,
    };
  }
  if (unusable !== undefined) return { exitCode: notExecutableCode, reason: unusable };
  return {
    exitCode: notFoundCode,
    reason: program.includes("/")
      ? `Program ${quote(candidates[0]!)} does not exist on the worker`
      : `Program ${quote(program)} was not found on the worker in PATH ${quote(path)}`,
  };
}

function executable(path: string): "yes" | "missing" | "is not a file" | "is not executable" {
  try {
    const info = Deno.statSync(path);
    if (!info.isFile) return "is not a file";
    return ((info.mode ?? 0o111) & 0o111) === 0 ? "is not executable" : "yes";
  } catch {
    // Missing, a broken link, or below a folder that we may not search: execvp goes on as well.
    return "missing";
  }
}

/** Real paths of the programs of `worker.allow_commands`; those that do not exist are kept as named. */
export function allowedPrograms(paths: readonly string[]): Set<string> {
  return new Set(paths.map((path) => {
    try {
      return Deno.realPathSync(path);
    } catch {
      return path;
    }
  }));
}

function quote(text: string): string {
  return JSON.stringify(text);
}
