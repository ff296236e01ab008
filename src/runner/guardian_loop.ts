import { killCgroups, removeTree } from "./cgroups.ts";
import { guardianLooks } from "./guardian_protocol.ts";
import { killLeftoverProcesses, signal } from "./leftover_processes.ts";

/**
 * The guardian where no shell can be used: the same protocol, in this program.
 *
 * @param cgroups folder of the attempts' cgroups, or nothing.
 */
export async function guard(
  mark: string,
  silenceMs: number,
  cgroups: string,
  worker: number,
): Promise<void> {
  // A shorter mark would match other workers, an empty one all processes.
  if (!/^[0-9a-f]{16}\.[0-9a-f]{8}\.$/.test(mark) || !(silenceMs > 0)) {
    throw new TypeError("Only a worker can start its guardian");
  }
  for (const name of ["SIGHUP", "SIGINT", "SIGTERM"] as const) {
    Deno.addSignalListener(name, () => {});
  }
  const groups = new Set<number>();
  const reader = Deno.stdin.readable.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  while (true) {
    const text = await within(reader.read(), silenceMs);
    if (text === undefined) break;
    const lines = (rest + text).split("\n");
    rest = lines.pop()!;
    for (const line of lines) await hear(line, groups);
  }
  await say("acted");
  for (const group of groups) signal(-group, "SIGKILL");
  if (cgroups !== "") killCgroups(cgroups, worker);
  await killLeftoverProcesses(mark, guardianLooks);
  if (cgroups !== "" && !isProcess(worker)) removeTree(cgroups);
}

function isProcess(pid: number): boolean {
  try {
    return Deno.statSync(`/proc/${pid}`).isDirectory;
  } catch {
    return false;
  }
}

async function hear(line: string, groups: Set<number>): Promise<void> {
  if (line.startsWith("b")) return await say(line);
  for (const word of line.split(" ")) {
    const group = Number(word.slice(1));
    // 0 is this process's own group, and -1 means every process.
    if (!Number.isInteger(group) || group < 2) continue;
    if (word.startsWith("+")) groups.add(group);
    else if (word.startsWith("-")) groups.delete(group);
  }
}

/** The text that was read; undefined if the input has ended or was silent for too long. */
async function within(
  read: Promise<ReadableStreamReadResult<string>>,
  silenceMs: number,
): Promise<string | undefined> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const silence = new Promise<undefined>((resolve) => {
    timer = setTimeout(() => resolve(undefined), silenceMs);
  });
  try {
    return (await Promise.race([read, silence]))?.value;
  } finally {
    clearTimeout(timer);
  }
}

async function say(line: string): Promise<void> {
  try {
    await Deno.stdout.write(new TextEncoder().encode(line + "\n"));
  } catch (error) {
    // The worker is gone, and the guardian still has to act.
    if (!(error instanceof Deno.errors.BrokenPipe)) throw error;
  }
}
