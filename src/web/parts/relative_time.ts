const minuteMs = 60_000;
const hourMs = 60 * minuteMs;
const dayMs = 24 * hourMs;

/** How long ago, or in how long; calm: seconds in steps of ten. */
export function relativeTime(at: number, from: number): string {
  const distance = Math.abs(from - at);
  const [count, unit] = distance < minuteMs
    ? [Math.floor(distance / 10_000) * 10, "s"]
    : distance < hourMs
    ? [Math.floor(distance / minuteMs), "min"]
    : distance < dayMs
    ? [Math.floor(distance / hourMs), "h"]
    : [Math.floor(distance / dayMs), "d"];
  if (count === 0) return "now";
  return at < from ? `${count} ${unit} ago` : `in ${count} ${unit}`;
}
