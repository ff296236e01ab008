import assert from "node:assert/strict";
import type { Report } from "../tasks/orders.ts";
import { eventually } from "../../tests/support/eventually.ts";
import { Reports } from "./reports.ts";

function ended(key: string, tookMs: number): Report {
  const how = { exitCode: 0, signal: undefined, reason: undefined, collects: false } as const;
  return { kind: "exited", key, cause: "exit", startedAt: 1_000, at: 1_000 + tookMs, ...how };
}

Deno.test("ends of short tasks are told together, those of long ones at once", async () => {
  const sent: string[][] = [];
  using reports = new Reports((batch) => sent.push(batch.map(({ kind }) => kind)));
  reports.add(ended("long", 100));
  await Promise.resolve();
  assert.deepEqual(sent.splice(0), [["exited"]]);
  for (let at = 0; at < 40; at++) reports.add(ended("short", 1));
  await eventually(1_000, () => sent.flat().length === 40);
  sent.length = 0;
  reports.add({ kind: "started", key: "a", at: 1 });
  reports.add(ended("a", 1));
  await Promise.resolve();
  assert.deepEqual(sent, [], "it waits for others");
  await eventually(1_000, () => sent.length > 0);
  assert.deepEqual(sent.splice(0), [["started", "exited"]]);
  for (let at = 0; at < 4; at++) reports.add(ended("short", 1));
  await Promise.resolve();
  assert.deepEqual(sent.splice(0), [["exited", "exited", "exited", "exited"]]);
  reports.add(ended("short", 1));
  reports.add({ kind: "alive" });
  await Promise.resolve();
  assert.deepEqual(sent.splice(0), [["exited", "alive"]], "what does not wait takes others along");
  reports.add(ended("last", 1));
  reports[Symbol.dispose]();
  assert.deepEqual(sent, [["exited"]], "nothing is lost at the end");
});
