import assert from "node:assert/strict";
import { systemClock } from "../base/clock.ts";
import { PacketFilter } from "./packet_filter.ts";

const many = (length: number) => Array.from({ length }, () => ({}));

Deno.test("a packet with very many records or questions is not looked at", () => {
  const filter = new PacketFilter(systemClock);
  assert.ok(filter.accepts({ questions: many(1), answers: many(1), additionals: many(12) }));
  assert.ok(!filter.accepts({ answers: many(3_000) }));
  assert.ok(!filter.accepts({ additionals: many(3_000) }));
  assert.ok(!filter.accepts({ authorities: many(3_000) }));
  assert.ok(!filter.accepts({ questions: many(6_000) }));
  assert.ok(filter.accepts({}));
  assert.ok(!filter.admits(60_000));
});

Deno.test("a flood of packets is cut down to a rate, and the next ones are heard again", () => {
  let now = 0;
  const filter = new PacketFilter({ ...systemClock, monotonic: () => now });
  const heard = () => many(1_000).filter(() => filter.admits(300)).length;
  assert.equal(heard(), 200);
  assert.equal(heard(), 0);
  now += 1_000;
  assert.equal(heard(), 100);
  now += 3_600_000;
  assert.equal(heard(), 200);
});
