import type { Env } from "../../base/env.ts";
import { releasedOn, version } from "../../base/version.ts";

/**
 * Warns where the clock is before the release of this program. A board without a battery starts in
 * 1970, and what it certifies then has expired everywhere else.
 */
export function warnOfClock({ clock, log }: Pick<Env, "clock" | "log">): void {
  if (clock.now() >= Date.parse(releasedOn)) return;
  log.warn("This host's clock is wrong: its date is before the release of this program", {
    date: new Date(clock.now()).toISOString(),
    released: `${version} on ${releasedOn}`,
    next: "Set the clock, then run this command again: the new certificate has wrong dates",
  });
}
