import type { Output } from "../../base/env.ts";

/** Width for tables; undefined in a pipe, where nothing is cut off. */
export function widthOf(output: Output): number | undefined {
  return output.isTerminal ? sizeOf()?.columns : undefined;
}

export function sizeOf(): { columns: number; rows: number } | undefined {
  try {
    const size = Deno.consoleSize();
    return size.columns > 0 ? size : undefined;
  } catch {
    return undefined; // Not a terminal.
  }
}

type Paint = (text: string) => string;

export interface Colors {
  green: Paint;
  red: Paint;
  yellow: Paint;
  blue: Paint;
  dim: Paint;
  bold: Paint;
}

/** SGR codes (ECMA-48, 8.3.117), or nothing if colour is off. */
export function colors(output: Output): Colors {
  const code = (on: number, off: number): Paint =>
    output.color ? (text) => `\x1b[${on}m${text}\x1b[${off}m` : (text) => text;
  return {
    green: code(32, 39),
    red: code(31, 39),
    yellow: code(33, 39),
    blue: code(36, 39),
    dim: code(2, 22),
    bold: code(1, 22),
  };
}
