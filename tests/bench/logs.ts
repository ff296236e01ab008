import { agent } from "../support/agent.ts";
import { BareClient, startBareServer } from "./bare.ts";
import { startCluster } from "./cluster.ts";
import {
  type Bench,
  type BenchOptions,
  type Figure,
  median,
  mib,
  peakMemoryBytes,
} from "./report.ts";

const megabyte = 1024 * 1024;

/** Output of a task, stored on the coordinator and followed by a client at the same time. */
export const bench: Bench = {
  name: "logs",
  what: "a task that writes 256 MiB to stdout, stored and followed, mTLS",
  async *run({ quick }: BenchOptions): AsyncIterable<Figure> {
    const size = (quick ? 32 : 256) * megabyte;
    const rounds = quick ? 1 : 3;
    await using cluster = await startCluster({ slots: 2, tls: true });
    await using server = await startBareServer(cluster.files);
    const bare = await BareClient.dial(server.port, cluster.files);
    const ours: number[] = [];
    const theirs: number[] = [];
    try {
      for (let round = 0; round < rounds; round++) {
        let start = performance.now();
        await bare.send(size, 256 * 1024);
        theirs.push(performance.now() - start);
        start = performance.now();
        await follow(cluster, size);
        ours.push(performance.now() - start);
      }
    } finally {
      bare.close();
    }
    const rate = (ms: number) => size / megabyte / ms * 1000;
    const peaks = await Promise.all(
      [cluster.coordinator, cluster.worker].map(({ pid }) => peakMemoryBytes(pid)),
    );
    yield {
      name: "log bytes",
      measured: `${rate(median(ours)).toFixed(0)} MiB/s, start of submit to end of --follow`,
      reference: `${rate(median(theirs)).toFixed(0)} MiB/s in a bare client stream`,
      ratio: median(theirs) / median(ours),
      target: { atLeast: 0.5 },
      notes: [`median of ${rounds} rounds of ${mib(size)}, in turns`],
    };
    for (const [index, role] of ["coordinator", "worker"].entries()) {
      yield {
        name: `memory of the ${role}`,
        measured: `${mib(peaks[index]!)} at its peak`,
        reference: "200 MiB",
        ratio: peaks[index]! / (200 * megabyte),
        target: { atMost: 1 },
      };
    }
  },
};

async function follow(
  cluster: Awaited<ReturnType<typeof startCluster>>,
  size: number,
): Promise<void> {
  const port = cluster.coordinator.address.split(":").at(-1);
  const { command, args } = agent.command(
    "submit",
    "--follow",
    "--peer.insecure=false",
    `--coordinators=127.0.0.1:${port}`,
    "--",
    "head",
    "-c",
    String(size),
    "/dev/zero",
  );
  // wc costs next to nothing, like the counting of the bare server.
  const { code, stdout, stderr } = await new Deno.Command("bash", {
    args: ["-o", "pipefail", "-c", '"$@" | wc -c', "bash", command, ...args],
    env: cluster.home.env,
    clearEnv: true,
    stdin: "null",
  }).output();
  const bytes = Number(new TextDecoder().decode(stdout));
  if (code === 0 && bytes === size) return;
  const said = new TextDecoder().decode(stderr);
  throw new Error(`Followed ${bytes} of ${size} bytes, exit code ${code}: ${said}`);
}
