import { systemClock } from "../../src/base/clock.ts";
import { spec } from "../support/spec.ts";
import { runAll, startCluster } from "./cluster.ts";
import {
  type Bench,
  type BenchOptions,
  cpuSeconds,
  type Figure,
  memoryBytes,
  mib,
} from "./report.ts";

/** Cost of an idle coordinator and worker after a lot of work. */
export const bench: Bench = {
  name: "idle",
  what: "memory and processor time of coordinator and worker after mixed load, mTLS",
  async *run({ quick }: BenchOptions): AsyncIterable<Figure> {
    const rounds = quick ? 1 : 10;
    const settleMs = quick ? 2_000 : 30_000;
    const watchMs = quick ? 5_000 : 30_000;
    await using cluster = await startCluster({ slots: 8, tls: true });
    for (let round = 0; round < rounds; round++) {
      await runAll(cluster.client, spec({ argv: ["/bin/true"] }), 1_000);
      const writer = spec({ argv: ["sh", "-c", "head -c 4000000 /dev/zero; seq 10000"] });
      await runAll(cluster.client, writer, 20);
    }
    await systemClock.sleep(settleMs);
    for (const role of ["coordinator", "worker"] as const) {
      const { pid } = cluster[role];
      const before = await cpuSeconds(pid);
      await systemClock.sleep(watchMs);
      const share = (await cpuSeconds(pid) - before) / (watchMs / 1000);
      const memory = await memoryBytes(pid);
      yield {
        name: `memory of the ${role}`,
        measured: mib(memory),
        reference: "80 MiB",
        ratio: memory / (80 * 1024 * 1024),
        target: { atMost: 1 },
        notes: [`after ${rounds * 1_020} tasks and ${settleMs / 1000} s of rest`],
      };
      yield {
        name: `processor of the ${role}`,
        measured: `${(share * 100).toFixed(2)} % of a core`,
        reference: "0.3 % of a core",
        ratio: share / 0.003,
        target: { atMost: 1 },
        notes: [`over ${watchMs / 1000} s`],
      };
    }
  },
};
