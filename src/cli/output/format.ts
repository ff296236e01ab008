import { printable } from "../../base/printable.ts";
import { shellQuoted } from "../../base/shell_quoted.ts";

/** A command as one would type it into a POSIX shell. */
export function shellLine(argv: string[]): string {
  return argv.map((word) => shellQuoted(printable(word))).join(" ");
}

/** `512 B`, `4.2 KiB`, `1.0 GiB`. */
export function formatBytes(bytes: number): string {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let at = 0;
  let value = bytes;
  while (value >= 1024 && at < units.length - 1) {
    value /= 1024;
    at++;
  }
  return `${at === 0 ? value : value.toFixed(1)} ${units[at]}`;
}

/** `1 task`, `3 tasks`. */
export function counted(number: number, noun: string): string {
  return `${number} ${noun}${number === 1 ? "" : "s"}`;
}
