/**
 * Text that others chose, on one line of a terminal: control characters would move the cursor or
 * rename the window, and invisible ones turn the direction of writing or hide what is there.
 */
export function printable(text: string): string {
  return text.replaceAll(
    /[\p{Cc}\p{Cf}\u2028\u2029]/gu,
    (c) => `\\u${c.codePointAt(0)!.toString(16).padStart(4, "0")}`,
  );
}
