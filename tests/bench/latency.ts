import { Buffer } from "node:buffer";
import { BareClient, startBareServer } from "./bare.ts";
import { startCluster } from "./cluster.ts";
import { spec } from "../support/spec.ts";
import { type Bench, type BenchOptions, type Figure, median } from "./report.ts";

/** Time from `submit` to the start of the process on an idle system. */
export const bench: Bench = {
  name: "latency",
  what: "submit to process started, idle, mTLS",
  async *run({ quick }: BenchOptions): AsyncIterable<Figure> {
    const rounds = quick ? 20 : 200;
    await using cluster = await startCluster({ slots: 2, tls: true });
    await using server = await startBareServer(cluster.files);
    const bare = await BareClient.dial(server.port, cluster.files);
    try {
      const trips: number[] = [];
      const starts: number[] = [];
      for (let round = -10; round < rounds; round++) {
        const before = performance.now();
        await bare.echo(Buffer.alloc(64));
        const trip = performance.now() - before;
        const start = await submitToStarted(cluster);
        if (round < 0) continue; // Warm-up: the first tasks compile the code.
        trips.push(trip);
        starts.push(start);
      }
      const ms = median(starts);
      const sorted = starts.toSorted((a, b) => a - b);
      const notes = [
        `median of ${rounds}, from the call of submit, which is before it is accepted, to the start ` +
        `that the worker noted, to the millisecond`,
        `99th percentile ${sorted[Math.floor(sorted.length * 0.99)]!.toFixed(1)} ms`,
      ];
      const measured = `${ms.toFixed(1)} ms`;
      yield {
        name: "in round trips",
        measured,
        reference: `${median(trips).toFixed(2)} ms for a bare unary call`,
        ratio: ms / median(trips),
        target: { atMost: 10 },
        notes,
      };
      yield {
        name: "median in milliseconds",
        measured,
        reference: "5 ms",
        ratio: ms / 5,
        target: { atMost: 1 },
      };
      const late = sorted[Math.floor(sorted.length * 0.99)]!;
      yield {
        name: "99th percentile in milliseconds",
        measured: `${late.toFixed(1)} ms`,
        reference: "15 ms",
        ratio: late / 15,
        target: { atMost: 1 },
      };
    } finally {
      bare.close();
    }
  },
};

async function submitToStarted(cluster: Awaited<ReturnType<typeof startCluster>>): Promise<number> {
  const { tasks } = cluster.client;
  const before = performance.timeOrigin + performance.now();
  const { id } = await tasks.submit(spec({ argv: ["/bin/true"] }));
  for await (const task of tasks.watchTasks([id], AbortSignal.timeout(10_000))) {
    const startedAt = task.attempts[0]?.startedAt;
    if (task.state === "succeeded" && startedAt !== undefined) return startedAt - before;
  }
  throw new Error(`Task ${id} never started`);
}
