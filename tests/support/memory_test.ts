import assert from "node:assert/strict";
import { growing, sampleMemory } from "./memory.ts";

Deno.test("memory that keeps growing is distinguished from memory that settles", () => {
  const series = (name: string, mib: (minute: number) => number, minutes = 60) => ({
    name,
    pid: 1,
    mib: Array.from({ length: minutes * 12 }, (_, at) => mib(at / 12)),
  });
  const samples = [
    series("leaks", (minute) => 50 + minute),
    series("leaks in steps", (minute) => 50 + 10 * Math.floor(minute / 10)),
    series("settles", (minute) => 100 - 50 / (minute + 1)),
    series("saws", (minute) => 80 + minute * 12 % 10),
    series("falls", (minute) => 200 - minute),
    series("short", (minute) => 50 + minute, 15),
  ];
  assert.deepEqual(growing(samples), [
    "leaks: 60 MiB in an hour",
    "leaks in steps: 58 MiB in an hour",
  ]);
});

Deno.test({
  name: "the memory of a process is sampled until the end",
  ignore: Deno.build.os !== "linux",
  async fn() {
    const over = new AbortController();
    const sampling = sampleMemory(() => [["own", Deno.pid], ["gone", 2 ** 22 + 1]], over.signal);
    setTimeout(() => over.abort(), 10);
    const samples = await sampling;
    assert.deepEqual(samples.map(({ name, mib }) => [name, mib.length]), [["own", 1]]);
    assert.ok(samples[0]!.mib[0]! > 10);
  },
});
