/** The variable that marks all processes of one test run. */
export const runVariable = "TEST_RUN";

/** Processes end by themselves after their test: a pipe closes, or heartbeats stop. */
const withinMs = 15_000;

/**
 * The command lines of processes that the tests of this run left behind. Processes that left their
 * group are found too, since they keep the environment they were started with. Linux only.
 */
export async function leftBehind(run: string, waitMs = withinMs): Promise<string[]> {
  const endMs = performance.now() + waitMs;
  while (true) {
    const left = await processesOf(run);
    if (left.length === 0 || performance.now() > endMs) return left;
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
}

async function processesOf(run: string): Promise<string[]> {
  if (Deno.build.os !== "linux") return [];
  const found: string[] = [];
  for await (const { name } of Deno.readDir("/proc")) {
    if (!/^\d+$/.test(name) || Number(name) === Deno.pid) continue;
    const environment = await read(`/proc/${name}/environ`);
    if (!environment.split("\0").includes(`${runVariable}=${run}`)) continue;
    const line = (await read(`/proc/${name}/cmdline`)).replaceAll("\0", " ").trim();
    // A zombie has ended, and has no command line.
    if (line !== "") found.push(`${name} ${line}`);
  }
  return found;
}

/** An unreadable file belongs to another user, or to a process that has just ended. */
async function read(path: string): Promise<string> {
  try {
    return await Deno.readTextFile(path);
  } catch {
    return "";
  }
}
