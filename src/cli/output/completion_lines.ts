import { printable } from "../../base/printable.ts";
import type { Candidate } from "../complete.ts";

/** One line in a list of a shell. */
const longestDescription = 70;

/**
 * A line a candidate, for the completion scripts: the word, a tab, what it is. A word that a terminal
 * does not show as it is cannot be chosen.
 */
export function completionLines(candidates: readonly Candidate[]): string {
  return candidates.filter(({ word }) => printable(word) === word).map(({ word, does = "" }) => {
    const text = printable(does);
    const shown = text.length > longestDescription
      ? `${text.slice(0, longestDescription - 1)}…`
      : text;
    return shown === "" ? word : `${word}\t${shown}`;
  }).join("\n");
}
