/** The variable by which the processes of one run of the tests are known. */
export const runVariable = "TEST_RUN";

/** How long a process may take to end after its test: it is told by a pipe, or missed beats. */
const withinMs = 15_000;

/**
 * The command lines of processes that the tests of this run have left behind, also those that left
 * their group: they keep the environment in which they were started. Linux only; elsewhere none.
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
    // A zombie has no command line any more: it has ended.
    if (line !== "") found.push(`${name} ${line}`);
  }
  return found;
}

/** What cannot be read belongs to another user, or has just ended. */
async function read(path: string): Promise<string> {
  try {
    return await Deno.readTextFile(path);
  } catch {
    return "";
  }
}
