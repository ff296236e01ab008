import { systemClock } from "../../src/base/clock.ts";
import { agent } from "../support/agent.ts";
import { findProgram } from "../support/component.ts";
import { type Cluster, startCluster } from "./cluster.ts";
import { hyperQueueRate } from "./hyperqueue.ts";
import { type Bench, type BenchOptions, type Figure, median, perSecond } from "./report.ts";

const slots = 8;

/** Each run has a new coordinator and worker, and measures one whole command. */
export const bench: Bench = {
  name: "array",
  what: `\`submit --array\` as a whole command, cold, one worker with ${slots} slots, mTLS`,
  async *run({ quick }: BenchOptions): AsyncIterable<Figure> {
    const count = quick ? 300 : 2_000;
    const rounds = quick ? 1 : 3;
    const hq = await findProgram("hq");
    const rates = {
      plain: [] as number[],
      follow: [] as number[],
      lines: [] as number[],
      followLines: [] as number[],
    };
    const line = ["/bin/echo", "a line of output"];
    const others = { xargs: [] as number[], hq: [] as number[] };
    const rate = (ms: number) => count / ms * 1000;
    for (let round = 0; round < rounds; round++) {
      others.xargs.push(rate(await xargsMs(count)));
      rates.plain.push(rate(await arrayMs(count, false, ["/bin/true"])));
      rates.follow.push(rate(await arrayMs(count, true, ["/bin/true"])));
      rates.lines.push(rate(await arrayMs(count, false, line)));
      rates.followLines.push(rate(await arrayMs(count, true, line)));
      if (hq !== undefined) others.hq.push(await hyperQueueRate(hq, count, slots));
    }
    const plain = median(rates.plain);
    const notes = [`median of ${rounds} rounds of ${count}, in turns`];
    const against = (
      name: string,
      own: number,
      reference: string,
      other: number,
      least: number,
    ) => ({
      name,
      measured: `${perSecond(own)} tasks/s`,
      reference,
      ratio: own / other,
      target: { atLeast: least },
      notes,
    });
    const xargs = median(others.xargs);
    yield against("submit", plain, `${perSecond(xargs)}/s by xargs -P4`, xargs, 0.75);
    const same = `${perSecond(plain)} tasks/s without --follow`;
    yield against("submit --follow", median(rates.follow), same, plain, 0.95);
    const lines = median(rates.lines);
    const unfollowed = `${perSecond(lines)} such tasks/s without --follow`;
    const followed = median(rates.followLines);
    yield against("submit --follow, a line each", followed, unfollowed, lines, 0.95);
    if (hq === undefined) return;
    const theirs = median(others.hq);
    yield against("against HyperQueue", plain, `${perSecond(theirs)}/s by HyperQueue`, theirs, 1);
  },
};

/** Time from the start of the command to the end of the last task. */
async function arrayMs(count: number, follow: boolean, program: string[]): Promise<number> {
  await using cluster = await startCluster({ slots, tls: true });
  const port = cluster.coordinator.address.split(":").at(-1);
  const start = performance.now();
  const { code, stderr } = await agent.run([
    "submit",
    ...follow ? ["--follow"] : [],
    "--array",
    `0-${count - 1}`,
    "--peer.insecure=false",
    `--coordinators=127.0.0.1:${port}`,
    "--",
    ...program,
  ], { home: cluster.home, withinMs: 600_000 });
  if (code !== 0) throw new Error(`submit exits ${code}: ${stderr}`);
  if (!follow) await allEnded(cluster);
  return performance.now() - start;
}

async function allEnded({ client }: Cluster): Promise<void> {
  while (true) {
    const left = await client.tasks.listTasks({ states: ["queued", "running"], limit: 1 });
    if (left.tasks.length === 0) return;
    // Asking costs both processors too, so not often: much shorter than the run.
    await systemClock.sleep(50);
  }
}

async function xargsMs(count: number): Promise<number> {
  const start = performance.now();
  const { success } = await new Deno.Command("sh", {
    args: ["-c", `seq ${count} | xargs -P4 -n1 /bin/true`],
  }).output();
  if (!success) throw new Error("xargs failed");
  return performance.now() - start;
}
