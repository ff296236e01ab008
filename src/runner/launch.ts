import { basename } from "node:path";
import { Spawner } from "../base/posix_spawn.ts";
import { processOf, type TaskProcess } from "./task_process.ts";
import type { TaskUser } from "./user.ts";

/** How processes of tasks are started. */
export interface Launcher {
  /** The C library's way, which starts most processes; undefined where Deno starts all. */
  spawner: Spawner | undefined;
  /** setsid(1), or undefined where Deno has to make the session. */
  setsid: string | undefined;
  /** setpriv(1), which gives a process groups beyond the primary one. */
  setpriv: string | undefined;
}

let spawner: { opened: Spawner | undefined } | undefined;

/**
 * Without the spawner, setsid(1) where it exists: started by it, a process leads its session like one
 * that Deno starts detached, at about twice the rate (measured: 1,050 against 400 to 640 per second
 * on two cores).
 */
export function findLauncher(): Launcher {
  spawner ??= { opened: Spawner.open() };
  return { spawner: spawner.opened, setsid: find("setsid"), setpriv: findSetpriv() };
}

/** busybox has one with other options under this name. */
function findSetpriv(): string | undefined {
  const path = find("setpriv");
  return path !== undefined && basename(Deno.realPathSync(path)) === "setpriv" ? path : undefined;
}

function find(name: string): string | undefined {
  for (const path of [`/usr/bin/${name}`, `/bin/${name}`]) {
    try {
      if (Deno.statSync(path).isFile) return path;
    } catch (error) {
      if (!(error instanceof Deno.errors.NotFound)) throw error;
    }
  }
  return undefined;
}

export interface Launch {
  /** A path: a missing program must be known before, else it shows as an exit code of setsid. */
  program: string;
  args: string[];
  env: Record<string, string>;
  folder: string;
  /** Whether the folder is the attempt's own, so that it may be entered with the worker's rights. */
  isOwn: boolean;
  user: TaskUser;
  /** Standard input; undefined: empty. */
  stdin?: Uint8Array | undefined;
}

/**
 * Starts a process in a state that does not depend on how the worker was started: it leads a session
 * and a group of its own, standard input is what was given, both outputs are pipes, and the OOM killer does
 * not spare it. Signals and descriptors are put right once, when the worker starts (base/libc.ts).
 */
export function launch(launcher: Launcher, launch: Launch): TaskProcess {
  return withPlainOomScore(() =>
    spawn(launcher, launch) ?? processOf(launchByDeno(launcher, launch))
  );
}

/**
 * Undefined where only Deno can do it: it changes the user without a further program, and writes to
 * standard input. It also says why a program could not be started.
 */
function spawn(launcher: Launcher, launch: Launch): TaskProcess | undefined {
  const { spawner } = launcher;
  if (spawner === undefined || launch.stdin !== undefined) return undefined;
  const { env, folder, isOwn, user: { ids } } = launch;
  const line = [launch.program, ...launch.args];
  if (ids === undefined) return spawner.spawn({ line, env, folder });
  if (launcher.setpriv === undefined) return undefined;
  const folderAtStart = isOwn ? folder : "/";
  return spawner.spawn({ line: asUser(launcher, launch, line), env, folder: folderAtStart });
}

function launchByDeno(launcher: Launcher, launch: Launch): Deno.ChildProcess {
  const { program, args, env, folder, isOwn, user, stdin } = launch;
  const { ids } = user;
  let line = [program, ...args];
  if (launcher.setsid !== undefined) line = [launcher.setsid, ...line];
  const isPlain = ids === undefined || !needsSetpriv(launcher, user);
  if (!isPlain) line = asUser(launcher, launch, line);
  const command = new Deno.Command(line[0]!, {
    args: line.slice(1),
    env,
    clearEnv: true,
    cwd: isPlain || isOwn ? folder : "/",
    stdin: stdin === undefined ? "null" : "piped",
    stdout: "piped",
    stderr: "piped",
    ...(launcher.setsid === undefined ? { detached: true } : {}),
    ...(isPlain && ids !== undefined ? { uid: ids.uid, gid: ids.gid } : {}),
  });
  const child = command.spawn();
  if (stdin !== undefined) void feed(child.stdin, stdin);
  return child;
}

/** The line that becomes the user before it enters a folder and starts `line`. */
function asUser(launcher: Launcher, { user, folder, isOwn }: Launch, line: string[]): string[] {
  const { uid, gid, groups } = user.ids!;
  // Entered by root, a folder would be open to the task whatever the folders above it say.
  const inFolder = isOwn ? line : ["/bin/sh", "-c", enterFolder, "sh", folder, ...line];
  const who = [`--reuid=${uid}`, `--regid=${gid}`, `--groups=${groups.join()}`];
  return [launcher.setpriv!, ...who, "--", ...inFolder];
}

/** A process that ends before it has read all of its input is no error. */
async function feed(input: WritableStream<Uint8Array>, data: Uint8Array): Promise<void> {
  const writer = input.getWriter();
  try {
    await writer.write(data);
    await writer.close();
  } catch {
    // Broken pipe: it does not want the rest.
  }
}

const enterFolder = 'cd -- "$1" || exit 126; shift; exec "$@"';

/** Deno gives a process the primary group alone. A further program takes 0.6 ms at each start. */
export function needsSetpriv({ setpriv }: Launcher, { ids }: TaskUser): boolean {
  return setpriv !== undefined && ids !== undefined && ids.groups.some((id) => id !== ids.gid);
}

const oomScoreFile = "/proc/self/oom_score_adj";

/** Of this process (proc_pid_oom_score_adj(5)): set for it by its supervisor, if at all. */
let ownOomScore: string | undefined;

/**
 * A child has the score of its parent, so this process has that of a task for the moment of the
 * start. Raising a score is allowed to everyone, and so is going back.
 */
function withPlainOomScore<T>(start: () => T): T {
  ownOomScore ??= readOomScore();
  if (ownOomScore === "0" || !setOomScore("0")) return start();
  try {
    return start();
  } finally {
    setOomScore(ownOomScore);
  }
}

function readOomScore(): string {
  try {
    return Deno.readTextFileSync(oomScoreFile).trim();
  } catch {
    // Another system.
    return "0";
  }
}

function setOomScore(score: string): boolean {
  try {
    Deno.writeTextFileSync(oomScoreFile, score);
    return true;
  } catch {
    // A score above 0 that this process may not lower: no task is spared by it.
    return false;
  }
}
