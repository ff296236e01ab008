import { printable } from "../../base/printable.ts";
import { shellQuoted } from "../../base/shell_quoted.ts";

const byteUnits = ["B", "KiB", "MiB", "GiB", "TiB"];

/** Bytes in binary units with three digits at most: "1.5 GiB". */
export function formatBytes(bytes: number): string {
  const step = bytes < 1 ? 0 : Math.min(Math.floor(Math.log2(bytes) / 10), byteUnits.length - 1);
  const unit = byteUnits[step]!;
  return `${formatIn(bytes, unit)} ${unit}`;
}

/** Bytes in one of the units, without naming it; a decimal where it says something. */
export function formatIn(bytes: number, unit: string): string {
  const value = bytes / 1024 ** byteUnits.indexOf(unit);
  return value >= 20 || Number.isInteger(value) ? String(Math.round(value)) : value.toFixed(1);
}

/** Milliseconds of a round trip. */
export function formatLatency(ms: number): string {
  return ms < 10 ? `${ms.toFixed(1)} ms` : `${Math.round(ms)} ms`;
}

/** How far a clock is ahead or behind. */
export function formatOffset(ms: number): string {
  const distance = Math.abs(ms);
  // A tick asks each peer once: below this the difference is noise.
  if (distance < 50) return "in step";
  const size = distance < 1000
    ? `${Math.round(distance)} ms`
    : distance < 120_000
    ? `${(distance / 1000).toFixed(1)} s`
    : distance < 7_200_000
    ? `${Math.round(distance / 60_000)} min`
    : `${Math.round(distance / 3_600_000)} h`;
  return `${size} ${ms > 0 ? "ahead" : "behind"}`;
}

/** The command as it would be typed; a shell's lines without the shell. */
export function commandLine(argv: string[]): string {
  const isShell = argv.length === 3 && argv[0] === "/bin/sh" && argv[1] === "-c";
  const lines = isShell ? argv[2]! : argv.map(shellQuoted).join(" ");
  // Bidirectional controls could show another command than the one that runs.
  return lines.split("\n").map(printable).join("\n");
}

/** The first bytes of a fingerprint, enough to tell CAs apart. */
export function shortFingerprint(hex: string): string {
  return hex.slice(0, 8);
}

export function plural(count: number, one: string, many = `${one}s`): string {
  return `${count.toLocaleString()} ${count === 1 ? one : many}`;
}
