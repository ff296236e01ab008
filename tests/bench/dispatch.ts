import { findLauncher, launch } from "../../src/runner/launch.ts";
import { readAll } from "../../src/runner/task_process.ts";
import { runAll, startCluster } from "./cluster.ts";
import { spec } from "../support/spec.ts";
import { type Bench, type BenchOptions, type Figure, median, perSecond } from "./report.ts";

const slots = 8;

/** No-op tasks per second of one worker, with everything that real tasks get. */
export const bench: Bench = {
  name: "dispatch",
  what: `no-op tasks, one coordinator, one worker with ${slots} slots, durable store`,
  async *run({ quick }: BenchOptions): AsyncIterable<Figure> {
    const count = quick ? 300 : 2_000;
    const rounds = quick ? 1 : 3;
    await using secure = await startCluster({ slots, tls: true });
    await using plain = await startCluster({ slots, tls: false });
    const rates: Record<"mtls" | "h2c" | "bare", number[]> = { mtls: [], h2c: [], bare: [] };
    await runAll(secure.client, spec({ argv: ["/bin/true"] }), 200); // Warm-up: the first tasks compile the code.
    await runAll(plain.client, spec({ argv: ["/bin/true"] }), 200);
    for (let round = 0; round < rounds; round++) {
      const rate = (tookMs: number) => count / tookMs * 1000;
      rates.bare.push(rate(await bareStarts(count, secure.home.path)));
      rates.mtls.push(rate(await runAll(secure.client, spec({ argv: ["/bin/true"] }), count)));
      rates.h2c.push(rate(await runAll(plain.client, spec({ argv: ["/bin/true"] }), count)));
    }
    const [mtls, h2c, bare] = [rates.mtls, rates.h2c, rates.bare].map(median) as [
      number,
      number,
      number,
    ];
    const notes = [`median of ${rounds} rounds of ${count}, in turns`];
    yield {
      name: "finished tasks",
      measured: `${perSecond(mtls)} tasks/s with mTLS`,
      reference: `${perSecond(bare)} bare starts/s by the same launcher`,
      ratio: mtls / bare,
      target: { atLeast: 0.75 },
      notes,
    };
    yield {
      name: "mTLS against h2c",
      measured: `${perSecond(mtls)} tasks/s with mTLS`,
      reference: `${perSecond(h2c)} tasks/s with h2c`,
      ratio: mtls / h2c,
      target: { atLeast: 0.85 },
      notes,
    };
  },
};

/** Starts /bin/true like a worker, as many at a time as it has slots, and does nothing else. */
async function bareStarts(count: number, folder: string): Promise<number> {
  const launcher = findLauncher();
  let left = count;
  const start = performance.now();
  await Promise.all(Array.from({ length: slots }, async () => {
    while (left-- > 0) {
      const child = launch(launcher, {
        program: "/bin/true",
        args: [],
        env: {},
        folder,
        isOwn: true,
        user: { name: "root", home: "/", ids: undefined },
      });
      await Promise.all([child.ended, readAll(child.stdout), readAll(child.stderr)]);
    }
  }));
  return performance.now() - start;
}
