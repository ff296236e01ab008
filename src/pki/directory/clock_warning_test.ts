import assert from "node:assert/strict";
import { systemClock } from "../../base/clock.ts";
import { createLog } from "../../base/log.ts";
import { releasedOn } from "../../base/version.ts";
import { warnOfClock } from "./clock_warning.ts";

Deno.test("a clock before the release is warned of, with both dates", () => {
  const released = Date.parse(releasedOn);
  const said = (now: number) => {
    let lines = "";
    const write = (line: string) => void (lines += line);
    const log = createLog({ level: "info", format: "json", now: () => 0, write });
    warnOfClock({ clock: { ...systemClock, now: () => now }, log });
    return lines;
  };
  assert.equal(said(released), "");
  assert.match(said(released - 1), new RegExp(`clock is wrong.*${releasedOn}`));
  assert.match(said(600_000), /1970-01-01T00:10:00/);
});
