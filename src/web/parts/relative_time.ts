const minuteMs = 60_000;
const hourMs = 60 * minuteMs;
const dayMs = 24 * hourMs;

/** Peers are asked every 5 s, and the answer is passed on within as long again. */
const nowMs = 15_000;

/** How long ago, or in how long; calm: seconds in steps of ten. */
export function relativeTime(at: number, from: number): string {
  const distance = Math.abs(from - at);
  if (distance < nowMs) return "now";
  const [count, unit] = distance < minuteMs
    ? [Math.floor(distance / 10_000) * 10, "s"]
    : distance < hourMs
    ? [Math.floor(distance / minuteMs), "min"]
    : distance < dayMs
    ? [Math.floor(distance / hourMs), "h"]
    : [Math.floor(distance / dayMs), "d"];
  return at < from ? `${count} ${unit} ago` : `in ${count} ${unit}`;
}
