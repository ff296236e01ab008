/** Runs `scripts/soak`: prints each fault, and a report at the end. */
import { parseArgs } from "node:util";
import { growing } from "./memory.ts";
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

const report = await soak({
  forMs: Number(minutes) * 60_000,
  workers: Number(workers),
  ...(seed === undefined ? {} : { seed: Number(seed) }),
  say: (line) => {
    if (!quiet || !/^soak: (kill|stop|cut|hold|restart) /.test(line)) say(`${time()}  ${line}`);
  },
});
const faults = Object.entries(report.faults).map(([name, count]) => `${count} × ${name}`);
const peaks = Map.groupBy(report.memory, ({ name }) => name);
say(`
seed ${report.seed}, ${minutes} minutes, ${workers} workers
${report.accepted} tasks accepted, all ended; ${report.succeeded} succeeded, ${report.lost} lost
${report.lostAttempts} attempts were lost and given to others
faults: ${faults.join(", ")}
memory at its peak: ${
  [...peaks].map(([name, samples]) =>
    `${name} ${Math.max(...samples.flatMap(({ mib }) => mib)).toFixed()} MiB`
  ).join(", ")
}`);
const grown = growing(report.memory);
if (grown.length > 0) say(`Memory that keeps growing: ${grown.join("; ")}`);
Deno.exit(grown.length > 0 ? 1 : 0);

function say(line: string): void {
  Deno.stdout.writeSync(new TextEncoder().encode(`${line}\n`));
}
