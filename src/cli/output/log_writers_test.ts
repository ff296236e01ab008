import assert from "node:assert/strict";
import { memory } from "../../../tests/support/fake_tasks.ts";
import type { LogPiece } from "../../tasks/service.ts";
import { indexPrefix, lineWriter } from "./log_writers.ts";

const element = (arrayIndex: number) => `a.${arrayIndex}`;
const piece = (text: string): LogPiece => ({
  attempt: 1,
  stream: "stdout",
  offset: 0,
  data: new TextEncoder().encode(text),
});

Deno.test("each line of an array carries its index once, however it arrives", async () => {
  const stdout = memory();
  const writer = lineWriter({ stdout, stderr: memory() }, indexPrefix);
  await writer.piece(piece("one\ntw"), element(0));
  await writer.piece(piece("other\n\n"), element(1));
  await writer.piece(piece("o\nlast"), element(0));
  await writer.ended(element(0));
  await writer.ended(element(1));
  assert.equal(stdout.text(), "[0] one\n[1] other\n[1] \n[0] two\n[0] last\n");
});

Deno.test("a long line is written in parts, and carries its index once", async () => {
  const stdout = memory();
  const writer = lineWriter({ stdout, stderr: memory() }, indexPrefix);
  const long = "x".repeat(70_000);
  for (let i = 0; i < 3; i++) await writer.piece(piece(long), element(7));
  await writer.piece(piece("\nnext\n"), element(7));
  await writer.ended(element(7));
  assert.equal(stdout.text(), `[7] ${long.repeat(3)}\n[7] next\n`);
});

Deno.test("without a prefix every byte is the task's own", async () => {
  const stdout = memory();
  const writer = lineWriter({ stdout, stderr: memory() });
  await writer.piece(piece("a\nb"), element(0));
  await writer.ended(element(0));
  assert.equal(stdout.text(), "a\nb");
});
