import { UsageError } from "./errors.ts";

const unitMs: Record<string, number> = {
  ms: 1,
  s: 1000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
  w: 604_800_000,
};

/** 100 years: far beyond any use, and still an exact number of milliseconds. */
const longestMs = 100 * 365 * unitMs.d!;

/**
 * Reads `90s`, `10m`, `1h30m`, `500ms`, `0`; a bare number other than 0 has no unit and is refused.
 *
 * @returns milliseconds.
 * @throws {UsageError} where the text is something else.
 */
export function parseDuration(text: string): number {
  if (text === "0") return 0;
  const parts = [...text.matchAll(/(\d+(?:\.\d+)?)(ms|s|m|h|d|w)/g)];
  if (parts.length === 0 || parts.map((part) => part[0]).join("") !== text) {
    throw new UsageError(`"${text}" is not a duration`, {
      next: 'Write it as "90s", "10m" or "1h30m"',
    });
  }
  const ms = Math.round(parts.reduce((sum, part) => sum + Number(part[1]) * unitMs[part[2]!]!, 0));
  if (ms > longestMs) throw new UsageError(`"${text}" is longer than 100 years`);
  return ms;
}

/** Writes milliseconds for people, in the two largest units: `1h30m`, `12.3s`, `8ms`. */
export function formatDuration(ms: number): string {
  if (ms < 1000) return `${Math.round(ms)}ms`;
  if (ms < 10_000) return `${(ms / 1000).toFixed(1)}s`;
  const seconds = Math.round(ms / 1000);
  const parts = [
    [Math.floor(seconds / 86_400), "d"],
    [Math.floor(seconds / 3600) % 24, "h"],
    [Math.floor(seconds / 60) % 60, "m"],
    [seconds % 60, "s"],
  ] as const;
  const first = parts.findIndex(([count]) => count > 0);
  return parts.slice(first, first + 2).filter(([count]) => count > 0)
    .map(([count, unit]) => `${count}${unit}`).join("");
}
