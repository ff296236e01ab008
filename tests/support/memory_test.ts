import assert from "node:assert/strict";
import { growing, sampleMemory } from "./memory.ts";

Deno.test("memory that keeps growing is distinguished from memory that settles", () => {
  const series = (name: string, mib: (at: number) => number) => ({
    name,
    pid: 1,
    mib: Array.from({ length: 200 }, (_, at) => mib(at)),
  });
  const samples = [
    series("leaks", (at) => 50 + at),
    series("settles", (at) => 100 - 50 / (at + 1)),
    series("saws", (at) => 80 + at % 10),
  ];
  assert.deepEqual(growing(samples), ["leaks: from 175 to 225 MiB"]);
  assert.deepEqual(growing([{ name: "short", pid: 1, mib: [50, 100, 200, 400] }]), []);
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
