import { eventually } from "../support/eventually.ts";

/**
 * Tasks per second of HyperQueue, a fast task runner written in Rust, set up the same way: a new
 * server with its journal on, one worker, output kept, one whole command.
 */
export async function hyperQueueRate(hq: string, count: number, slots: number): Promise<number> {
  const folder = await Deno.makeTempDir({ prefix: "agent-bench-hq-" });
  const run = (...args: string[]) =>
    new Deno.Command(hq, { args: ["--server-dir", folder, ...args], cwd: folder, stdout: "null" });
  await using open = new AsyncDisposableStack();
  open.defer(() => Deno.remove(folder, { recursive: true }));
  const start = (...args: string[]) => {
    const child = run(...args).spawn();
    open.defer(async () => {
      try {
        child.kill("SIGTERM");
      } catch (error) {
        if (!(error instanceof TypeError)) throw error; // It has ended by itself.
      }
      await child.status;
    });
  };
  start("server", "start", "--journal", `${folder}/journal`);
  await eventually(30_000, async () => (await run("server", "info").output()).success);
  start("worker", "start", `--cpus=${slots}`);
  await eventually(30_000, async () => {
    const { stdout } = await new Deno.Command(hq, {
      args: ["--server-dir", folder, "worker", "list"],
    }).output();
    return new TextDecoder().decode(stdout).includes("RUNNING");
  });
  const began = performance.now();
  const { success } = await run("submit", "--wait", `--array=0-${count - 1}`, "/bin/true").output();
  if (!success) throw new Error("hq submit failed");
  return count / (performance.now() - began) * 1000;
}
