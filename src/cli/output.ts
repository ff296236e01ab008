import type { Output } from "../base/env.ts";

export type Style = "bold" | "dim" | "red" | "green" | "yellow";

const codes: Record<Style, [number, number]> = {
  bold: [1, 22],
  dim: [2, 22],
  red: [31, 39],
  green: [32, 39],
  yellow: [33, 39],
};

/** The text in that style where the stream wants colour. */
export function styled(to: Pick<Output, "color">, style: Style, text: string): string {
  const [on, off] = codes[style];
  return to.color && text !== "" ? `\x1b[${on}m${text}\x1b[${off}m` : text;
}

export interface Column<Row> {
  title: string;
  /** What a row shows here; what comes from peers or files may hold anything. */
  value: (row: Row) => string | number | undefined;
  align?: "left" | "right";
  style?: (row: Row) => Style | undefined;
}

/**
 * Rows below their titles, aligned by what a terminal shows of each cell. An empty list is a
 * sentence, not a head without rows.
 */
export function table<Row>(
  to: Pick<Output, "color">,
  rows: readonly Row[],
  columns: readonly Column<Row>[],
  empty = "Nothing to show",
): string {
  if (rows.length === 0) return empty;
  const cells = rows.map((row) => columns.map(({ value }) => printable(String(value(row) ?? "-"))));
  const widths = columns.map(({ title }, i) =>
    Math.max(displayWidth(title), ...cells.map((line) => displayWidth(line[i]!)))
  );
  const line = (texts: string[], style: (i: number) => Style | undefined) =>
    texts.map((text, i) => {
      const space = " ".repeat(widths[i]! - displayWidth(text));
      const chosen = style(i);
      const shown = chosen === undefined ? text : styled(to, chosen, text);
      return columns[i]!.align === "right" ? space + shown : shown + space;
    }).join("  ").trimEnd();
  return [
    line(columns.map(({ title }) => title), () => "dim"),
    ...cells.map((texts, at) => line(texts, (i) => columns[i]!.style?.(rows[at]!))),
  ].join("\n");
}

/** Names and values below each other: `name  value`. */
export function facts(
  to: Pick<Output, "color">,
  rows: readonly (readonly [string, string | number | undefined])[],
): string {
  const shown = rows.filter(([, value]) => value !== undefined);
  const width = Math.max(0, ...shown.map(([name]) => displayWidth(name)));
  return shown.map(([name, value]) =>
    `${styled(to, "dim", name)}${" ".repeat(width - displayWidth(name))}  ${
      printable(String(value))
    }`
  ).join("\n");
}

/**
 * Text of peers, tasks and files on one line of a terminal: control characters would move the
 * cursor or rename the window, and those that turn the direction of writing would hide what is
 * there.
 */
export function printable(text: string): string {
  return text.replaceAll(
    /[\p{Cc}\u2028\u2029\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]/gu,
    (c) => `\\u${c.codePointAt(0)!.toString(16).padStart(4, "0")}`,
  );
}

/** Cells that a terminal needs: two for East Asian wide characters and emoji, none for marks. */
function displayWidth(text: string): number {
  let width = 0;
  for (const { segment } of graphemes.segment(text)) width += wide.test(segment) ? 2 : 1;
  return width;
}

const graphemes = new Intl.Segmenter();
const wide =
  /[\u1100-\u115f\u2e80-\u303e\u3041-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60\uffe0-\uffe6]|\p{Emoji_Presentation}/u;

/** `2026-11-22 16:41` in UTC, for tables. */
export function minute(time: Date | number): string {
  return new Date(time).toISOString().slice(0, 16).replace("T", " ");
}
