import assert from "node:assert/strict";
import { EngineHarness, taskError } from "../support/engine.ts";

const bytes = (text: string) => new TextEncoder().encode(text);
const text = (data: Uint8Array) => new TextDecoder().decode(data);

Deno.test("revisions grow with each change of the namespace", async () => {
  await using harness = new EngineHarness();
  const { engine } = harness;
  assert.equal((await engine.putState("ns", "a", bytes("1"))).revision, 1);
  assert.equal((await engine.putState("ns", "b", bytes("2"))).revision, 2);
  assert.equal((await engine.putState("ns", "a", bytes("3"))).revision, 3);
  assert.equal((await engine.putState("other", "a", bytes("4"))).revision, 1);
  assert.deepEqual(await engine.deleteState("ns", "b"), { revision: 4 });
  const entry = await engine.getState("ns", "a");
  assert.deepEqual([text(entry.value), entry.revision], ["3", 3]);
  await harness.restart();
  // The revision of a deleted key is not used again.
  assert.equal((await harness.engine.putState("ns", "b", bytes("5"))).revision, 5);
});

Deno.test("a change with --if-revision applies to that revision only", async () => {
  await using harness = new EngineHarness();
  const { engine } = harness;
  const conflict = (revision: number) => (error: unknown) => {
    taskError("conflict")(error);
    assert.equal((error as { revision: number }).revision, revision);
    return true;
  };
  await assert.rejects(engine.putState("ns", "k", bytes("x"), 7), conflict(0));
  const { revision } = await engine.putState("ns", "k", bytes("x"), 0);
  await assert.rejects(engine.putState("ns", "k", bytes("y"), 0), conflict(revision));
  await assert.rejects(engine.deleteState("ns", "k", 99), conflict(revision));
  await assert.rejects(engine.deleteState("ns", "none", 3), conflict(0));
  await assert.rejects(engine.deleteState("ns", "none"), taskError("not_found"));
  await engine.deleteState("ns", "k", revision);
  await assert.rejects(engine.getState("ns", "k"), taskError("not_found"));
});

Deno.test("of many changes of one revision at the same time, one succeeds", async () => {
  await using harness = new EngineHarness();
  const { engine } = harness;
  await engine.putState("ns", "counter", bytes("0"));
  const tries = { won: 0, lost: 0 };
  await Promise.all(Array.from({ length: 20 }, async () => {
    for (;;) {
      const { value, revision } = await engine.getState("ns", "counter");
      try {
        await engine.putState("ns", "counter", bytes(String(Number(text(value)) + 1)), revision);
        tries.won++;
        return;
      } catch (error) {
        taskError("conflict")(error);
        tries.lost++;
      }
    }
  }));
  assert.equal(text((await engine.getState("ns", "counter")).value), "20");
  assert.equal(tries.won, 20);
  assert.ok(tries.lost > 0);
});

Deno.test("keys are listed by prefix, in order; no character is special", async () => {
  await using harness = new EngineHarness();
  const { engine } = harness;
  for (const key of ["b", "a/2", "a/1", "a%", "a_", "ä"]) {
    await engine.putState("ns", key, bytes(key));
  }
  const keys = async (prefix: string) =>
    (await engine.listState("ns", prefix)).map((entry) => entry.key);
  assert.deepEqual(await keys("a/"), ["a/1", "a/2"]);
  assert.deepEqual(await keys("a%"), ["a%"]);
  assert.deepEqual(await keys("a_"), ["a_"]);
  assert.equal((await keys("")).length, 6);
  assert.deepEqual(await keys("zzz"), []);
  for (let i = 0; i < 4; i++) await engine.putState("big", `k${i}`, new Uint8Array(1024 * 1024));
  await assert.rejects(engine.listState("big", ""), taskError("exhausted", /longer prefix/));
  assert.equal((await engine.listState("big", "k1")).length, 1);
});

Deno.test("names and values out of bounds are refused", async () => {
  await using harness = new EngineHarness();
  const { engine } = harness;
  const bad: [string, string, Uint8Array][] = [
    ["", "k", bytes("")],
    ["ns", "", bytes("")],
    ["n\0s", "k", bytes("")],
    ["n".repeat(101), "k", bytes("")],
    ["ns", "k".repeat(501), bytes("")],
    ["ns", "\ud800", bytes("")],
    // A node could name neither in a path.
    ["..", "k", bytes("")],
    ["ns", ".", bytes("")],
    ["ns", "k", new Uint8Array(1024 * 1024 + 1)],
  ];
  for (const [namespace, key, value] of bad) {
    await assert.rejects(engine.putState(namespace, key, value), taskError("invalid"));
  }
  for (const key of ["...", ".a", "a/../b"]) await engine.putState("ns", key, bytes(""));
  const empty = await engine.putState("ns", "k", new Uint8Array());
  assert.equal(empty.value.length, 0);
  assert.equal((await engine.getState("ns", "k")).value.length, 0);
});

Deno.test("watching a namespace tells what is there, then what changes, and nothing of others", async () => {
  await using harness = new EngineHarness();
  const { engine } = harness;
  await engine.putState("ns", "lock/a", bytes("1"));
  await engine.putState("ns", "other", bytes("2"));
  const stop = new AbortController();
  const changes = engine.watchState("ns", "lock/", stop.signal)[Symbol.asyncIterator]();
  const next = async () => {
    const { value, done } = await changes.next();
    if (done) return "end";
    if ("entry" in value) return `${value.entry.key} ${value.entry.revision}`;
    return "complete" in value ? "complete" : `${value.deletedKey} deleted`;
  };
  assert.deepEqual([await next(), await next()], ["lock/a 1", "complete"]);
  await engine.putState("elsewhere", "lock/a", bytes("x"));
  await engine.putState("ns", "another", bytes("x"));
  await assert.rejects(engine.putState("ns", "lock/a", bytes("y"), 99), taskError("conflict"));
  await engine.putState("ns", "lock/b", bytes("3"));
  assert.equal(await next(), "lock/b 4");
  // Of changes that were not read yet, the newest.
  await engine.putState("ns", "lock/b", bytes("4"));
  await engine.putState("ns", "lock/b", bytes("5"));
  await engine.deleteState("ns", "lock/a");
  assert.deepEqual([await next(), await next()], ["lock/b 6", "lock/a deleted"]);
  const last = next();
  stop.abort();
  assert.equal(await last, "end");
  const invalid = engine.watchState("", "", stop.signal)[Symbol.asyncIterator]();
  await assert.rejects(invalid.next(), taskError("invalid"));
  const open = engine.watchState("ns", "", new AbortController().signal)[Symbol.asyncIterator]();
  while ("entry" in (await open.next()).value!);
  await Promise.all([
    assert.rejects(open.next(), taskError("unavailable")),
    engine[Symbol.asyncDispose](),
  ]);
});
