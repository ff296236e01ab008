import assert from "node:assert/strict";
import { OutputBuffer } from "./output_buffer.ts";
import type { SpoolFile } from "./spool.ts";

class MemoryFile implements SpoolFile {
  bytes: number[] = [];
  full = false;
  get length() {
    return this.bytes.length;
  }
  append(data: Uint8Array) {
    if (this.full) throw new Error("No space left on device");
    this.bytes.push(...data);
  }
  read(at: number, maxBytes: number) {
    return new Uint8Array(this.bytes.slice(at, at + maxBytes));
  }
  truncate() {
    this.bytes = [];
  }
  close() {}
}

/** The byte at each offset. */
const byteAt = (offset: number) => (offset * 7 + (offset >> 8)) & 0xff;
const bytes = (from: number, count: number) =>
  Uint8Array.from({ length: count }, (_, at) => byteAt(from + at));

Deno.test("what memory can hold may be replaced at once; beyond, the runner waits", () => {
  const output = new OutputBuffer(() => new MemoryFile(), 100);
  assert.equal(output.append(bytes(0, 60)), 60);
  assert.equal(output.append(bytes(60, 60)), 0);
  assert.equal(output.release(30, 1), 0, "pieces leave memory as a whole");
  assert.equal(output.release(60, 2), 60);
  assert.deepEqual(output.read(70), bytes(70, 50));
});

Deno.test("what is not taken off goes to the file after a while, and the runner goes on", () => {
  const file = new MemoryFile();
  const output = new OutputBuffer(() => file, 100);
  output.append(bytes(0, 150));
  output.release(50, 1_000);
  assert.equal(output.relieve(1_050, 100), 0);
  assert.equal(output.relieve(1_100, 100), 150);
  assert.equal(file.length, 150);
  assert.equal(output.append(bytes(150, 20)), 20);
  assert.deepEqual(output.read(100), bytes(100, 50));
  assert.deepEqual(output.read(150), bytes(150, 20));
  output.release(160, 2_000);
  assert.equal(file.length, 0, "the file is emptied when all of it is stored elsewhere");
  assert.deepEqual(output.read(160), bytes(160, 10));
});

Deno.test("a full disk loses nothing", () => {
  const file = new MemoryFile();
  file.full = true;
  const output = new OutputBuffer(() => file, 100);
  output.append(bytes(0, 150));
  assert.throws(() => output.relieve(1_000, 100), /No space/);
  assert.deepEqual(output.read(0), bytes(0, 150));
  assert.equal(output.release(150, 1_001), 150);
});

Deno.test("any order of writing, spilling and releasing keeps every byte in its place", () => {
  const seed = Math.floor(Math.random() * 2 ** 31);
  let state = seed || 1;
  const random = (below: number) => (state = (state * 48271) % 2147483647) % below;
  for (let round = 0; round < 200; round++) {
    const file = new MemoryFile();
    let output = new OutputBuffer(() => file, 64);
    let owed = 0;
    let isRestored = false;
    for (let step = 0; step < 60; step++) {
      switch (random(5)) {
        case 0:
        case 1: {
          // What is restored belongs to a task that has ended.
          if (isRestored) break;
          const count = 1 + random(40);
          owed += count - output.append(bytes(output.end, count));
          break;
        }
        case 2:
          owed -= output.release(output.start + random(output.end - output.start + 1), step);
          break;
        case 3:
          output.spill();
          break;
        case 4: {
          // A restart, in which nothing but the file is left.
          if (owed > 0 || random(4) > 0) break;
          isRestored = true;
          const { end, start } = output;
          output = OutputBuffer.restored(() => file, output.keep(), end);
          output.release(start, step);
        }
      }
      for (let at = output.start; at < output.end;) {
        const piece = output.read(at);
        assert.ok(piece.length > 0, `seed ${seed}`);
        assert.deepEqual(piece, bytes(at, piece.length), `seed ${seed}`);
        at += piece.length;
      }
    }
  }
});
