import { printable } from "../../base/printable.ts";
import { shellQuoted } from "../../base/shell_quoted.ts";

/** A command as it would be typed into a POSIX shell. */
export function shellLine(argv: string[]): string {
  return argv.map((word) => shellQuoted(printable(word))).join(" ");
}

/** A line with a longer text is hard to read, in a pipe too; another command shows it whole. */
const longestShown = 200;

/** A text that others chose, for a line of a list. */
export function shortened(text: string): string {
  return text.length > longestShown ? `${text.slice(0, longestShown)}…` : text;
}

/** `1 task`, `3 tasks`. */
export function counted(number: number, noun: string): string {
  return `${number} ${noun}${number === 1 ? "" : "s"}`;
}
