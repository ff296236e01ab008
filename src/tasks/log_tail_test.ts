import assert from "node:assert/strict";
import { LogTail } from "./log_tail.ts";

const bytes = (text: string) => new TextEncoder().encode(text);
const text = (data: Uint8Array | undefined) => data && new TextDecoder().decode(data);

Deno.test("a tail gives what was added, from any offset, each stream for itself", () => {
  const tail = new LogTail();
  tail.add("stdout", 0, bytes("abc"));
  tail.add("stderr", 0, bytes("xy"));
  tail.add("stdout", 3, bytes("def"));
  assert.equal(text(tail.from("stdout", 0)), "abc");
  assert.equal(text(tail.from("stdout", 1)), "bc");
  assert.equal(text(tail.from("stdout", 3)), "def");
  assert.equal(text(tail.from("stderr", 1)), "y");
  assert.equal(tail.from("stdout", 6), undefined);
  assert.equal(tail.from("stderr", 2), undefined);
});

Deno.test("a tail forgets the oldest beyond its bounds, by bytes and by number", () => {
  const large = new LogTail();
  const piece = new Uint8Array(1024 * 1024);
  for (let at = 0; at < 4; at++) large.add("stdout", at * piece.length, piece);
  assert.equal(large.from("stdout", 0), undefined);
  assert.equal(large.from("stdout", 3 * piece.length)?.length, piece.length);
  const small = new LogTail();
  for (let at = 0; at < 1000; at++) small.add("stdout", at, bytes("a"));
  assert.equal(small.from("stdout", 0), undefined);
  assert.equal(text(small.from("stdout", 999)), "a");
});
