import assert from "node:assert/strict";
import { silentLog } from "../../tests/support/silent_log.ts";
import { HostHealth } from "./host_health.ts";

function health() {
  let now = 0;
  const seen = { tests: 0, changes: 0 };
  const clock = { now: () => now, monotonic: () => now, sleep: () => Promise.resolve() };
  const health = new HostHealth({
    test: () => seen.tests++,
    changed: () => seen.changes++,
    clock,
    log: silentLog,
    // The longest wait that is possible.
    random: () => 1,
  });
  const pass = (ms: number) => {
    now += ms;
    health.alive();
    health.tick();
  };
  /** Time in which the runner reports nothing. */
  const wait = (ms: number, step = 100) => {
    for (let passed = 0; passed < ms; passed += step) {
      now += step;
      health.tick();
    }
  };
  return { health, seen, pass, wait };
}

Deno.test("after a failed start a host is tested, ever more rarely, until a test succeeds", () => {
  const { health: host, seen, pass } = health();
  assert.equal(host.trouble, undefined);
  host.failed("no inode");
  host.failed("no inode");
  assert.deepEqual([host.trouble, seen.changes], ["no inode", 1]);
  for (const waitMs of [1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000]) {
    const { tests } = seen;
    pass(waitMs - 1);
    assert.equal(seen.tests, tests, `not before ${waitMs} ms`);
    pass(1);
    pass(1);
    assert.equal(seen.tests, tests + 1, `once after ${waitMs} ms`);
    host.tested("no inode");
    assert.match(host.trouble!, /no inode/);
  }
  pass(30_000);
  host.tested(undefined);
  assert.deepEqual([host.trouble, seen.changes], [undefined, 2]);
  const { tests } = seen;
  pass(100_000);
  assert.equal(seen.tests, tests);
});

Deno.test("a runner that reports nothing for 3 s does not answer", () => {
  const { health: host, wait } = health();
  host.alive();
  wait(2_900);
  assert.ok(host.answers);
  wait(100);
  assert.ok(!host.answers);
  assert.match(host.trouble!, /does not answer/);
  host.alive();
  assert.ok(host.answers);
});

Deno.test("a pause of the worker's own thread is not taken for silence of the runner", () => {
  const { health: host, wait } = health();
  host.alive();
  wait(10_000, 10_000);
  assert.ok(host.answers);
  wait(3_000);
  assert.ok(!host.answers);
});
