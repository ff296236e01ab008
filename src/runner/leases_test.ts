import assert from "node:assert/strict";
import { Leases } from "./leases.ts";

Deno.test("a lease holds until it has passed by either clock", () => {
  const leases = new Leases();
  const start = { monotonic: 500, boot: 10_000 };
  assert.ok(!leases.holds("c", start), "never renewed");
  leases.renew("c", 1_000, start);
  const cases: [number, number, boolean][] = [
    [999, 999, true],
    [1_000, 10, false],
    [10, 1_000, false],
  ];
  for (const [monotonic, boot, holds] of cases) {
    const now = { monotonic: start.monotonic + monotonic, boot: start.boot + boot };
    assert.equal(leases.holds("c", now), holds, `${monotonic} ${boot}`);
  }
});

Deno.test("a lease that has passed is named once, and may be renewed", () => {
  const leases = new Leases();
  leases.renew("c", 1_000, { monotonic: 0, boot: 0 });
  leases.renew("d", 9_000, { monotonic: 0, boot: 0 });
  assert.deepEqual(leases.takePassed({ monotonic: 1_000, boot: 0 }), ["c"]);
  assert.deepEqual(leases.takePassed({ monotonic: 1_000, boot: 0 }), []);
  leases.renew("c", 1_000, { monotonic: 1_000, boot: 0 });
  assert.ok(leases.holds("c", { monotonic: 1_500, boot: 0 }));
});
