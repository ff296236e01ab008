import assert from "node:assert/strict";
import { createLog } from "../base/log.ts";
import { RunningAttempt } from "./running_attempt.ts";
import { DiskSpill } from "./spill.ts";
import type { Spool } from "./spool.ts";

Deno.test("a full disk is logged once, whatever else has nothing to write", () => {
  const full = () => {
    throw new Error("The disk is full");
  };
  const spool = { open: full } as unknown as Spool;
  const attempt = (taskId: string) => {
    const made = new RunningAttempt({ taskId, attempt: 1, fence: 1 }, undefined, 0, spool, 0);
    made.phase = "running";
    return made;
  };
  const [busy, idle] = [attempt("t1"), attempt("t2")];
  busy.outputs.stdout.append(new Uint8Array(10));
  const lines: string[] = [];
  const write = (line: string) => void lines.push(line);
  const log = createLog({ level: "info", format: "json", now: () => 0, write });
  const relief = new DiskSpill(spool, log, () => assert.fail("nothing was written"));
  for (let now = 1_000; now < 2_000; now += 100) {
    for (const each of [busy, idle]) relief.tick(each, "a:1", now);
  }
  assert.equal(lines.length, 1);
  assert.match(lines[0]!, /The disk is full/);
});
