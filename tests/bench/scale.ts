import { spec } from "../support/spec.ts";
import { type Cluster, startCluster } from "./cluster.ts";
import { fakeWorker } from "./fake_worker.ts";
import { type Bench, type BenchOptions, type Figure, median, perSecond } from "./report.ts";

/** Rates with many waiting tasks and many idle workers, compared with few. */
export const bench: Bench = {
  name: "scale",
  what: "rates with 100,000 queued tasks, and with 1,000 idle workers, against few; mTLS",
  async *run({ quick }: BenchOptions): AsyncIterable<Figure> {
    const many = quick ? 5_000 : 100_000;
    const few = 100;
    await using cluster = await startCluster({ slots: 8, tls: true });
    await queue(cluster, few);
    await rates(cluster, quick); // Warm-up: the first tasks compile the code.
    const small = await rates(cluster, quick);
    await queue(cluster, many - few);
    yield* compared(await rates(cluster, quick), `${perSecond(many)} queued tasks`, small, few);
    const idle = quick ? 100 : 1_000;
    await using open = new AsyncDisposableStack();
    for (let at = 0; at < idle; at++) {
      open.use(await fakeWorker(cluster.client, `idle${at}`, 0));
    }
    yield* compared(await rates(cluster, quick), `${perSecond(idle)} idle workers too`, small, few);
  },
};

interface Rates {
  submit: number;
  list: number;
  dispatch: number;
}

function* compared(large: Rates, what: string, small: Rates, few: number): Iterable<Figure> {
  for (const name of ["submit", "list", "dispatch"] as const) {
    yield {
      name,
      measured: `${perSecond(large[name])}/s with ${what}`,
      reference: `${perSecond(small[name])}/s with ${few} queued tasks`,
      ratio: large[name] / small[name],
      target: { atLeast: 0.8 },
    };
  }
}

/** Queues tasks that no worker can run. */
async function queue({ client }: Cluster, count: number): Promise<void> {
  const waiting = spec({ argv: ["/bin/true"], selector: { on: "no-worker" } });
  const mostAtOnce = 10_000;
  for (let left = count; left > 0; left -= mostAtOnce) {
    const last = Math.min(left, mostAtOnce);
    await client.tasks.submit(waiting, { array: { first: 1, last } });
  }
}

async function rates({ client }: Cluster, quick: boolean): Promise<Rates> {
  const count = quick ? 50 : 300;
  const waiting = spec({ argv: ["/bin/true"], selector: { on: "no-worker" } });
  const rate = async (call: () => Promise<unknown>) => {
    const rounds: number[] = [];
    for (let round = 0; round < 3; round++) {
      const start = performance.now();
      for (let at = 0; at < count; at++) await call();
      rounds.push(count / (performance.now() - start) * 1000);
    }
    return median(rounds);
  };
  const submit = await rate(() => client.tasks.submit(waiting));
  const list = await rate(() => client.tasks.listTasks({ limit: 20 }));
  const { id } = await client.tasks.submit(spec({ argv: ["/bin/true"] }));
  for await (const task of client.tasks.watchTasks([id], AbortSignal.timeout(60_000))) {
    if (task.state === "succeeded") break;
  }
  const tookMs = await runSome(client, count);
  return { submit, list, dispatch: count / tookMs * 1000 };
}

/** Runs an array of no-op tasks while others stay queued; returns the time in ms. */
async function runSome(client: Cluster["client"], count: number): Promise<number> {
  const start = performance.now();
  const { id } = await client.tasks.submit(spec({ argv: ["/bin/true"] }), {
    array: { first: 1, last: count },
  });
  let open = count;
  for await (const task of client.tasks.watchTasks([id], AbortSignal.timeout(120_000))) {
    if (task.state === "succeeded" && --open === 0) break;
  }
  return performance.now() - start;
}
