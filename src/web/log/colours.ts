import Anser, { type AnserJsonEntry } from "anser"; // ANSI colours; 16 kB of edge cases of its own.
import type { LogLine } from "./log_text.ts";

export interface Segment {
  text: string;
  classes: string;
  /** For colours that are none of the terminal's 16. */
  style: { color?: string; background?: string };
}

/** The segments of one colour in a part of a line. */
export function segments(line: LogLine, from: number, to: number): Segment[] {
  const source = line.colours + line.text;
  if (!source.includes("\x1b")) {
    return [{ text: line.text.slice(from, to), classes: "", style: {} }];
  }
  const found: Segment[] = [];
  let at = 0;
  for (const entry of Anser.ansiToJson(source, { use_classes: true, remove_empty: true })) {
    const text = entry.content.slice(Math.max(0, from - at), Math.max(0, to - at));
    at += entry.content.length;
    if (text !== "") found.push({ text, ...looksOf(entry) });
  }
  return found;
}

/** Reversed colours come swapped already. */
function looksOf(entry: AnserJsonEntry): Pick<Segment, "classes" | "style"> {
  const classes = [];
  const style: Segment["style"] = {};
  if (entry.fg) {
    const rgb = rgbOf(entry.fg, entry.fg_truecolor);
    if (rgb === undefined) classes.push(`fg-${entry.fg}`);
    else style.color = rgb;
  }
  if (entry.bg) {
    const rgb = rgbOf(entry.bg, entry.bg_truecolor);
    if (rgb === undefined) classes.push(`bg-${entry.bg}`);
    else style.background = rgb;
  }
  for (const decoration of entry.decorations) classes.push(`ansi-${decoration}`);
  return { classes: classes.join(" "), style };
}

/** The colour of the 256 or the full palette; undefined for the terminal's own 16. */
function rgbOf(name: string, truecolor: string): string | undefined {
  if (name === "ansi-truecolor") return `rgb(${truecolor})`;
  const index = Number(/^ansi-palette-(\d+)$/.exec(name)?.[1] ?? NaN);
  if (Number.isNaN(index)) return undefined;
  // As xterm has it: a cube of 6 × 6 × 6 after the 16 colours, then 24 greys.
  if (index >= 232) {
    const grey = 8 + 10 * (index - 232);
    return `rgb(${grey}, ${grey}, ${grey})`;
  }
  const level = (step: number) => step === 0 ? 0 : 55 + 40 * step;
  const cube = index - 16;
  const levels = [Math.floor(cube / 36), Math.floor(cube / 6) % 6, cube % 6].map(level);
  return `rgb(${levels.join(", ")})`;
}
