export interface Column {
  title: string;
  /** Numbers stand at the right. */
  right?: boolean;
  /** Gives way where the table is wider than the terminal. One column at most. */
  flexible?: boolean;
}

/** A cell, or a cell with the escape codes that surround it. */
export type Cell = string | { text: string; paint: (text: string) => string };

export interface TableOptions {
  /** Columns of the terminal; unbounded where there is none, so that nothing is lost in a pipe. */
  width?: number | undefined;
  paintTitle?: (text: string) => string;
}

/** A column is never squeezed below this, even on a terminal that is too narrow for the rest. */
const narrowest = 8;
const gap = "  ";

/** Lines of a table, each with its end; the last column is not padded. */
export function table(columns: Column[], rows: Cell[][], options: TableOptions = {}): string {
  const widths = columns.map((column, i) =>
    Math.max(width(column.title), ...rows.map((row) => width(plain(row[i]))))
  );
  const flexible = columns.findIndex((column) => column.flexible);
  if (flexible >= 0 && options.width !== undefined) {
    const total = widths.reduce((sum, each) => sum + each, gap.length * (columns.length - 1));
    const excess = total - options.width;
    if (excess > 0) widths[flexible] = Math.max(narrowest, widths[flexible]! - excess);
  }
  const line = (cells: Cell[]) =>
    columns.map((column, i) => {
      const cell = cells[i] ?? "";
      const text = clipped(plain(cell), widths[i]!);
      const space = " ".repeat(Math.max(0, widths[i]! - width(text)));
      const shown = typeof cell === "string" ? text : cell.paint(text);
      if (column.right) return space + shown;
      return i === columns.length - 1 ? shown : shown + space;
    }).join(gap).trimEnd() + "\n";
  const paintTitle = options.paintTitle ?? ((text: string) => text);
  const titles = columns.map((column) => ({ text: column.title, paint: paintTitle }));
  return line(titles) + rows.map(line).join("");
}

function plain(cell: Cell | undefined): string {
  if (cell === undefined) return "";
  return typeof cell === "string" ? cell : cell.text;
}

function clipped(text: string, columns: number): string {
  if (width(text) <= columns) return text;
  const kept: string[] = [];
  let used = 1;
  for (const character of text) {
    used += width(character);
    if (used > columns) break;
    kept.push(character);
  }
  return kept.join("") + "…";
}

/** Columns that a text takes: East Asian wide characters and emoji take two, marks none. */
function width(text: string): number {
  let columns = 0;
  for (const character of text) {
    if (/\p{Mark}/u.test(character)) continue;
    columns +=
      /[\u1100-\u115f\u2e80-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60\uffe0-\uffe6]|\p{Emoji_Presentation}/u
          .test(character)
        ? 2
        : 1;
  }
  return columns;
}
