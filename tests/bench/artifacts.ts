import { agent } from "../support/agent.ts";
import { BareClient, startBareServer } from "./bare.ts";
import { type Cluster, startCluster } from "./cluster.ts";
import { type Bench, type BenchOptions, type Figure, mib, perSecond } from "./report.ts";

/** Many small files and one large one, collected by the worker and saved by a client. */
export const bench: Bench = {
  name: "artifacts",
  what: "3,000 files of 5 bytes, and one file of 1 GiB, each way, mTLS",
  async *run({ quick }: BenchOptions): AsyncIterable<Figure> {
    const files = quick ? 300 : 3_000;
    const bytes = (quick ? 64 : 1024) * 1024 * 1024;
    await using cluster = await startCluster({ slots: 2, tls: true });
    await using server = await startBareServer(cluster.files);
    const bare = await BareClient.dial(server.port, cluster.files);
    try {
      const small = await there(
        cluster,
        `mkdir out; for i in $(seq ${files}); do echo $i >out/$i; done`,
      );
      for (const [name, ms] of Object.entries(small)) {
        yield {
          name: `small files, ${name}`,
          measured: `${perSecond(files / ms * 1000)} files/s`,
          reference: "2,000 files/s",
          ratio: files / ms * 1000 / 2_000,
          target: { atLeast: 1 },
          notes: [`${files} files, the task or command as a whole`],
        };
      }
      const start = performance.now();
      await bare.send(bytes, 256 * 1024);
      const bareMs = performance.now() - start;
      const large = await there(cluster, `mkdir out; head -c ${bytes} /dev/zero >out/large`);
      const rate = (ms: number) => `${(bytes / 1024 / 1024 / ms * 1000).toFixed(0)} MiB/s`;
      for (const [name, ms] of Object.entries(large)) {
        yield {
          name: `a large file, ${name}`,
          measured: rate(ms),
          reference: `${rate(bareMs)} in a bare client stream`,
          ratio: bareMs / ms,
          target: { atLeast: 0.5 },
          notes: [`${mib(bytes)}, the task or command as a whole`],
        };
      }
    } finally {
      bare.close();
    }
  },
};

/** Time of a task to make and upload its files, and of a command to save them. */
async function there(
  cluster: Cluster,
  script: string,
): Promise<{ uploaded: number; saved: number }> {
  const port = cluster.coordinator.address.split(":").at(-1);
  const dial = ["--peer.insecure=false", `--coordinators=127.0.0.1:${port}`];
  const run = async (...args: string[]) => {
    const ran = await agent.run(args, { home: cluster.home, withinMs: 600_000 });
    if (ran.code !== 0) throw new Error(`agent ${args[0]} exits ${ran.code}: ${ran.stderr}`);
    return ran;
  };
  let start = performance.now();
  const { stderr } = await run(
    "submit",
    "--follow",
    "--artifact",
    "out/*",
    ...dial,
    "--shell",
    "--",
    script,
  );
  const uploaded = performance.now() - start;
  const folder = `${cluster.home.path}/saved`;
  start = performance.now();
  await run("task", "artifacts", stderr.split("\n")[0]!, "-o", folder, ...dial);
  const saved = performance.now() - start;
  await Deno.remove(folder, { recursive: true });
  return { uploaded, saved };
}
