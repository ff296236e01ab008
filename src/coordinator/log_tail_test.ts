import assert from "node:assert/strict";
import { type Clock, systemClock } from "../base/clock.ts";
import { LogTail } from "./log_tail.ts";

const bytes = (text: string) => new TextEncoder().encode(text);
const text = (data: Uint8Array | undefined) => data && new TextDecoder().decode(data);
const piece = new Uint8Array(512 * 1024);

/** Patience ends when the test says so. */
function heldClock() {
  const waits: { end: () => void; over: boolean }[] = [];
  const clock: Clock = {
    ...systemClock,
    sleep: (_, signal) =>
      new Promise((resolve) => {
        const wait = { end: resolve, over: false };
        signal?.addEventListener("abort", () => wait.over = true);
        waits.push(wait);
      }),
  };
  return { clock, waits };
}

Deno.test("a tail gives what was added, from any offset, each stream for itself", () => {
  const tail = new LogTail(systemClock);
  using reader = tail.follow();
  tail.add("stdout", 0, bytes("abc"));
  tail.add("stderr", 0, bytes("xy"));
  tail.add("stdout", 3, bytes("def"));
  assert.equal(text(reader.next("stdout", 0)), "abc");
  assert.equal(text(reader.next("stdout", 1)), "bc");
  assert.equal(text(reader.next("stdout", 3)), "def");
  assert.equal(text(reader.next("stderr", 1)), "y");
  assert.equal(reader.next("stdout", 6), undefined);
  assert.equal(reader.next("stderr", 2), undefined);
});

Deno.test("a tail forgets the oldest beyond its bounds, by bytes and by number", () => {
  const large = new LogTail(systemClock);
  const reader = large.follow();
  for (let at = 0; at < 16; at++) large.add("stdout", at * piece.length, piece);
  assert.equal(reader.next("stdout", 0), undefined);
  assert.equal(reader.next("stdout", 15 * piece.length)?.length, piece.length);
  const small = new LogTail(systemClock);
  const other = small.follow();
  for (let at = 0; at < 1000; at++) small.add("stdout", at, bytes("a"));
  assert.equal(other.next("stdout", 0), undefined);
  assert.equal(text(other.next("stdout", 999)), "a");
});

Deno.test("an upload waits for a follower that keeps up, and goes on as it reads", async () => {
  const { clock, waits } = heldClock();
  const tail = new LogTail(clock);
  const reader = tail.follow();
  tail.add("stdout", 0, piece);
  reader.next("stdout", 0);
  tail.add("stdout", piece.length, piece);
  await tail.room();
  assert.equal(waits.length, 0, "half of what is kept may be unread");
  tail.add("stderr", 0, piece);
  reader.next("stderr", 0);
  let hasRoom = false;
  const room = tail.room().then(() => hasRoom = true);
  reader.next("stderr", 0);
  await Promise.resolve();
  assert.equal(hasRoom, false);
  reader.next("stdout", piece.length);
  await room;
  assert.ok(waits[0]!.over, "no timer is left");
});

Deno.test("an upload waits once for a follower that is too slow, until it has caught up", async () => {
  const { clock, waits } = heldClock();
  const tail = new LogTail(clock);
  const reader = tail.follow();
  let at = 0;
  const add = () => tail.add("stdout", piece.length * at++, piece);
  add();
  reader.next("stdout", 0);
  for (let more = 0; more < 3; more++) add();
  const room = tail.room();
  waits[0]!.end();
  await room;
  add();
  await tail.room();
  assert.equal(waits.length, 1, "given up");
  reader.next("stdout", (at - 1) * piece.length);
  for (let more = 0; more < 3; more++) add();
  const again = tail.room();
  assert.equal(waits.length, 2, "it had caught up");
  reader[Symbol.dispose]();
  await again;
  assert.equal(tail.isFollowed, false);
});
