import { dirname, isAbsolute, join } from "node:path";
import { messageOf } from "../base/errors.ts";
import { mayEnter } from "./exposure.ts";
import { interpreterProblem } from "./interpreter.ts";
import type { TaskUser } from "./user.ts";

/** The PATH of tasks that set none: as login(1) sets it for root. */
export const defaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/** Exit codes of shells for a command that is missing or cannot be executed (POSIX, 2.8.2). */
const notFoundCode = 127;
const notExecutableCode = 126;

export type Resolved =
  | { path: string }
  | { exitCode: number | undefined; reason: string };

export interface ProgramSearch {
  /** As written in the task. */
  program: string;
  /** PATH of the task's environment. */
  path: string;
  /** The folder in which the task starts. */
  folder: string;
  /** Real paths of the programs that tasks may start; undefined: all. */
  allowed: ReadonlySet<string> | undefined;
  /** Files that this user cannot reach are treated as unreachable, not as missing. */
  user: TaskUser;
}

/**
 * Finds a task's program as execvp(3) does, and checks it against `worker.allow_commands`. With such a
 * list the real path is started, so that no link can change between check and start. Without a list
 * the path is started as it was found, because some programs depend on their own name.
 */
export function resolveProgram(search: ProgramSearch): Resolved {
  const { program, path, folder, allowed, user } = search;
  const candidates = program.includes("/")
    ? [isAbsolute(program) ? program : join(folder, program)]
    : path.split(":").map((part) => join(isAbsolute(part) ? part : join(folder, part), program));
  let unusable: Extract<Resolved, { reason: string }> | undefined;
  for (const candidate of candidates) {
    const problem = problemOf(candidate, user);
    if (problem === "missing") continue;
    if (problem !== undefined) {
      // execvp(3) tries the next folder, unless the kernel found no interpreter.
      unusable ??= { exitCode: problem.exitCode, reason: `${quote(candidate)} ${problem.text}` };
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
  if (unusable !== undefined) return unusable;
  return {
    exitCode: notFoundCode,
    reason: program.includes("/")
      ? `Program ${quote(candidates[0]!)} does not exist on the worker`
      : `Program ${quote(program)} was not found on the worker in PATH ${quote(path)}`,
  };
}

type Problem = "missing" | { exitCode: number; text: string } | undefined;

/** Why a user cannot start a program, as far as it is known before the start. */
function problemOf(path: string, user: TaskUser): Problem {
  const unusable = (text: string) => ({ exitCode: notExecutableCode, text });
  try {
    // First, so that the task does not learn whether the file exists.
    if (!mayEnter(dirname(path), user)) {
      return unusable(`is in a folder that "${user.name}" may not enter`);
    }
    const info = Deno.statSync(path);
    if (!info.isFile) return unusable("is not a file");
    if (((info.mode ?? 0o111) & 0o111) === 0) return unusable("is not executable");
    const problem = interpreterProblem(path, info);
    return problem === undefined ? undefined : { exitCode: notFoundCode, text: problem };
  } catch {
    // Missing, or a broken link: execvp also tries the next folder.
    return "missing";
  }
}

/** Why a user's task cannot start in a folder; undefined if it can. */
export function folderProblem(path: string, user: TaskUser): string | undefined {
  try {
    if (!mayEnter(dirname(path), user)) {
      return `Folder "${path}" on the worker is in a folder that "${user.name}" may not enter`;
    }
    if (!Deno.statSync(path).isDirectory) return `"${path}" on the worker is not a folder`;
    if (mayEnter(path, user)) return undefined;
    return `Folder "${path}" on the worker may not be entered by "${user.name}"`;
  } catch (error) {
    const found = error instanceof Deno.errors.NotFound ? "does not exist" : messageOf(error);
    return `Folder "${path}" ${found} on the worker`;
  }
}

/** Real paths of the programs of `worker.allow_commands`; paths that do not exist are kept as written. */
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
