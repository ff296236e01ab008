/** Runs `scripts/soak`: prints each fault, and a report at the end. */
import { parseArgs } from "node:util";
import { growing, growthMibPerHour } from "./memory.ts";
import { soak } from "./soak.ts";

const { values: { minutes, seed, workers, quiet } } = parseArgs({
  options: {
    minutes: { type: "string", default: "60" },
    seed: { type: "string" },
    workers: { type: "string", default: "3" },
    quiet: { type: "boolean", default: false },
  },
});
const numbers = [minutes, seed ?? "1", workers].map(Number);
if (numbers.some((number) => !(number > 0))) {
  say("Usage: scripts/soak [--minutes N] [--seed N] [--workers N] [--quiet]");
  Deno.exit(2);
}
const began = performance.now();
const time = () => `${((performance.now() - began) / 1000).toFixed(0)} s`.padStart(7);

// What was accepted is compared all the same, and nothing is left behind.
const stop = new AbortController();
for (const signal of ["SIGINT", "SIGTERM"] as const) {
  Deno.addSignalListener(signal, () => {
    if (stop.signal.aborted) Deno.exit(130);
    say(`${time()}  soak: ending, once what was accepted has ended`);
    stop.abort();
  });
}
const report = await soak({
  stop: stop.signal,
  forMs: Number(minutes) * 60_000,
  workers: Number(workers),
  idleMs: 60_000,
  ...(seed === undefined ? {} : { seed: Number(seed) }),
  say: (line) => {
    if (!quiet || !/^soak: (kill|stop|cut|hold|restart|fill) /.test(line)) {
      say(`${time()}  ${line}`);
    }
  },
});
const faults = Object.entries(report.faults).map(([name, count]) => `${count} × ${name}`);
say(`
seed ${report.seed}, ${minutes} minutes, ${workers} workers
${report.accepted} tasks accepted, all ended; ${report.succeeded} succeeded, ${report.lost} lost
${report.lostAttempts} attempts were lost and given to others
faults: ${faults.join(", ")}
processes of tasks that a guardian ended: ${report.guarded}`);
for (const sample of report.memory) {
  const growth = growthMibPerHour(sample);
  const idle = report.idle.find(({ pid }) => pid === sample.pid)?.mib.at(-1);
  say(
    `memory of the ${sample.name} in MiB: ${someOf(sample.mib).join(" ")}; ` +
      `at most ${Math.max(...sample.mib).toFixed()}, idle ${idle?.toFixed()}` +
      (growth === undefined ? "" : `, growth in an hour ${growth.toFixed()}`),
  );
}
const grown = growing(report.memory);
if (grown.length > 0) say(`Memory that keeps growing: ${grown.join("; ")}`);
Deno.exit(grown.length > 0 ? 1 : 0);

/** A twentieth of the samples. */
function someOf(mib: number[]): string[] {
  const step = Math.max(1, Math.round(mib.length / 20));
  return mib.filter((_, at) => at % step === 0).map((value) => value.toFixed());
}

function say(line: string): void {
  Deno.stdout.writeSync(new TextEncoder().encode(`${line}\n`));
}
