import type { LogLine } from "./log_text.ts";

/** One row on the screen: a line, or a part of one that is wider than the screen. */
export interface LogRow {
  line: LogLine;
  /** Characters from the start of the line. */
  from: number;
  to: number;
}

/** @param columns of the screen; 0: lines are not wrapped. */
export function logRows(lines: LogLine[], columns: number): LogRow[] {
  const rows: LogRow[] = [];
  for (const line of lines) {
    if (columns === 0 || line.width <= columns) {
      rows.push({ line, from: 0, to: line.width });
      continue;
    }
    for (let from = 0; from < line.width; from += columns) {
      rows.push({ line, from, to: Math.min(from + columns, line.width) });
    }
  }
  return rows;
}
