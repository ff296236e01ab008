export interface Column {
  title: string;
  /** Aligned to the right, for numbers. */
  right?: boolean;
  /** Gives way first where the table is wider than the terminal. One column at most. */
  flexible?: boolean;
  /** Left out where even that does not help: the column with the highest number goes first. */
  dropOrder?: number;
}

/** A cell, or a cell with the escape codes that surround it. */
export type Cell = string | { text: string; paint: (text: string) => string };

export interface TableOptions {
  /** Columns of the terminal; unbounded where there is none, so that nothing is lost in a pipe. */
  width?: number | undefined;
  paintTitle?: (text: string) => string;
}

/** The flexible column stays readable at this width. */
const narrowestFlexible = 8;
const gap = "  ";

/** Lines of a table, each with its end; the last column is not padded. No line exceeds the width. */
export function table(columns: Column[], rows: Cell[][], options: TableOptions = {}): string {
  const { width = Infinity, paintTitle = (text: string) => text } = options;
  const natural = columns.map((column, i) =>
    Math.max(displayWidth(column.title), ...rows.map((row) => displayWidth(plain(row[i]))))
  );
  const shown = fitting(columns, natural, width);
  const widths = squeezed(columns, natural, shown, width);
  const line = (cells: Cell[]) => {
    let text = "";
    shown.forEach((i, at) => {
      const cell = cells[i] ?? "";
      const cut = clipped(plain(cell), widths[at]!);
      const space = " ".repeat(Math.max(0, widths[at]! - displayWidth(cut)));
      const painted = typeof cell === "string" ? cut : cell.paint(cut);
      text += (at === 0 ? "" : gap) + (columns[i]!.right ? space + painted : painted + space);
    });
    return text.trimEnd() + "\n";
  };
  const titles = columns.map(({ title }) => ({ text: title, paint: paintTitle }));
  return line(titles) + rows.map(line).join("");
}

/** Indexes of the columns that fit. */
function fitting(columns: Column[], natural: number[], width: number): number[] {
  const shown = columns.map((_, i) => i);
  const least = () =>
    shown.reduce((sum, i) => {
      const own = natural[i]!;
      return sum + (columns[i]!.flexible ? Math.min(own, narrowestFlexible) : own);
    }, gap.length * (shown.length - 1));
  while (least() > width) {
    const [next] = shown.filter((i) => columns[i]!.dropOrder !== undefined)
      .toSorted((a, b) => columns[b]!.dropOrder! - columns[a]!.dropOrder!);
    if (next === undefined) break;
    shown.splice(shown.indexOf(next), 1);
  }
  return shown;
}

/** Widths of the shown columns: the flexible one gives way, and at last the rightmost ones. */
function squeezed(columns: Column[], natural: number[], shown: number[], width: number): number[] {
  const widths = shown.map((i) => natural[i]!);
  let excess = widths.reduce((sum, each) => sum + each, gap.length * (shown.length - 1)) - width;
  const shrink = (at: number, least: number) => {
    const cut = Math.max(0, Math.min(excess, widths[at]! - least));
    widths[at]! -= cut;
    excess -= cut;
  };
  const flexible = shown.findIndex((i) => columns[i]!.flexible);
  if (flexible >= 0) shrink(flexible, narrowestFlexible);
  for (let at = widths.length - 1; at >= 0; at--) shrink(at, 1);
  return widths;
}

function plain(cell: Cell | undefined): string {
  if (cell === undefined) return "";
  return typeof cell === "string" ? cell : cell.text;
}

/** The beginning of a text that fits into this many columns, with "…" where something is missing. */
export function clipped(text: string, columns: number): string {
  if (displayWidth(text) <= columns) return text;
  let kept = "";
  let used = 1;
  for (const character of text) {
    used += displayWidth(character);
    if (used > columns) break;
    kept += character;
  }
  return `${kept}…`;
}

/**
 * Columns that a text takes: East Asian wide characters and emoji take two, marks none. Our own,
 * because the npm repackaging of @std/cli lacks the data of its unicode_width.
 */
export function displayWidth(text: string): number {
  if (/^[\x20-\x7e]*$/.test(text)) return text.length;
  let columns = 0;
  for (const character of text) {
    if (/\p{Mark}/u.test(character)) continue;
    columns += wide.test(character) ? 2 : 1;
  }
  return columns;
}

const wide =
  /[\u1100-\u115f\u2e80-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60\uffe0-\uffe6]|\p{Emoji_Presentation}/u;
