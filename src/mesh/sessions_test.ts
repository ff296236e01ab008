import assert from "node:assert/strict";
import { systemClock } from "../base/clock.ts";
import { Sessions } from "./sessions.ts";

Deno.test("wrong tokens are counted for all addresses that one host can choose from", () => {
  const sessions = new Sessions({ clock: systemClock, token: () => "t".repeat(43) });
  for (let n = 0; n < 20; n++) sessions.wrongGuess(`2001:db8:1:2::${n.toString(16)}`);
  assert.ok(sessions.waitMs("2001:db8:1:2:ffff::1") > 0, "another address of the same /64");
  assert.equal(sessions.waitMs("2001:db8:1:3::1"), 0, "another /64");
  for (let n = 0; n < 20; n++) sessions.wrongGuess("192.0.2.1");
  assert.ok(sessions.waitMs("192.0.2.1") > 0);
  assert.equal(sessions.waitMs("192.0.2.2"), 0);
});
