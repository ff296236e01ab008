import { computed, signal } from "@preact/signals";
import { formatDuration } from "../../base/durations.ts";
import { clockOffsetMs } from "../node_api.ts";
import { relativeTime } from "./relative_time.ts";

/** This device's clock, in steps of a second while the page is seen. */
const ticks = signal(Date.now());
setInterval(() => {
  if (document.visibilityState === "visible") ticks.value = Date.now();
}, 1000);
document.addEventListener("visibilitychange", () => ticks.value = Date.now());

/** Now by the node's clock. */
const now = computed(() => ticks.value + clockOffsetMs.value);

/** Local date and time with the zone. */
export function exactTime(at: string): string {
  return new Date(at).toLocaleString(undefined, { dateStyle: "medium", timeStyle: "long" });
}

/** A relative time; the exact one stands in its tooltip. */
export function Time({ at, empty = "–" }: { at: string | null; empty?: string }) {
  if (at === null) return <span class="quiet">{empty}</span>;
  const text = relativeTime(Date.parse(at), now.value);
  return <time dateTime={at} title={exactTime(at)}>{text}</time>;
}

/** A date; how far it is away stands in its tooltip. */
export function Day({ at }: { at: string | null }) {
  if (at === null) return <span class="quiet">–</span>;
  const title = `${exactTime(at)} (${relativeTime(Date.parse(at), now.value)})`;
  return <time dateTime={at} title={title}>{at.slice(0, 10)}</time>;
}

/** From start to end, or until now; grows in whole seconds. */
export function Duration({ from, to }: { from: string | null; to: string | null }) {
  if (from === null) return <span class="quiet">–</span>;
  if (to !== null) return <>{formatDuration(Math.max(0, Date.parse(to) - Date.parse(from)))}</>;
  const ms = Math.max(0, now.value - Date.parse(from));
  return <>{formatDuration(Math.max(1, Math.floor(ms / 1000)) * 1000).replace(/\.0s$/, "s")}</>;
}
