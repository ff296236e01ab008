import { Buffer } from "node:buffer";
import { spec } from "../support/spec.ts";
import { BareClient, startBareServer } from "./bare.ts";
import { runAll, startCluster } from "./cluster.ts";
import { fakeOnly, fakeWorker } from "./fake_worker.ts";
import { type Bench, type BenchOptions, type Figure, median, perSecond } from "./report.ts";

const workers = 4;
const creditEach = 512;
const clients = 16;

/** The limit of the coordinator alone: these workers report success without starting anything. */
export const bench: Bench = {
  name: "ceiling",
  what: `tasks without processes, ${workers} workers; single submits by ${clients} clients; mTLS`,
  async *run({ quick }: BenchOptions): AsyncIterable<Figure> {
    const count = quick ? 2_000 : 10_000;
    const rounds = quick ? 1 : 5;
    await using cluster = await startCluster({ slots: 1, tls: true });
    await using server = await startBareServer(cluster.files);
    const bare = await BareClient.dial(server.port, cluster.files);
    const task = spec({ argv: ["/bin/true"], selector: fakeOnly });
    const fakes = await Promise.all(
      Array.from(
        { length: workers },
        (_, at) => fakeWorker(cluster.client, `fake${at}`, creditEach),
      ),
    );
    try {
      const rates: number[] = [];
      const submits: number[] = [];
      const echoes: number[] = [];
      await runAll(cluster.client, task, 1_000); // The first ones compile the code.
      for (let round = 0; round < rounds; round++) {
        rates.push(count / await runAll(cluster.client, task, count) * 1000);
        const calls = count / 5;
        echoes.push(await callsPerSecond(calls, () => bare.echo(Buffer.alloc(64))));
        submits.push(await callsPerSecond(calls, () => cluster.client.tasks.submit(task)));
      }
      const notes = [`median of ${rounds} rounds, in turns`];
      yield {
        name: "tasks without processes",
        measured: `${perSecond(median(rates))} tasks/s`,
        reference: "20,000 tasks/s",
        ratio: median(rates) / 20_000,
        target: { atLeast: 1 },
        notes,
      };
      yield {
        name: "single submits",
        measured: `${perSecond(median(submits))} submits/s`,
        reference: `${perSecond(median(echoes))} bare unary calls/s`,
        ratio: median(submits) / median(echoes),
        target: { atLeast: 0.5 },
        notes,
      };
    } finally {
      for (const fake of fakes) fake[Symbol.dispose]();
      bare.close();
    }
  },
};

async function callsPerSecond(count: number, call: () => Promise<unknown>): Promise<number> {
  let left = count;
  const start = performance.now();
  await Promise.all(Array.from({ length: clients }, async () => {
    while (left-- > 0) await call();
  }));
  return count / (performance.now() - start) * 1000;
}
