/**
 * The lines of a log, made of the pieces of its two streams as they arrive. A line that is not yet
 * complete stays open, so that the rest of it is added where it began.
 */
import { printable } from "../../base/printable.ts";

export type Stream = "stdout" | "stderr";

export interface LogLine {
  stream: Stream;
  /** Printable text and colours (SGR sequences); tabs are expanded. */
  text: string;
  /** Colours that are still on from earlier lines. */
  colours: string;
  /** Characters that are seen. */
  width: number;
}

/** A line without an end is cut here: one row of it would be as wide as some thousand screens. */
const longestLine = 10_000;
/** Above this many lines the oldest are dropped: the page stays below some 100 MB. */
const mostLines = 200_000;
const tabWidth = 8;

// deno-lint-ignore no-control-regex
const colour = /\x1b\[[0-9;:]*m/g;
// Titles, links and other strings to the terminal (ECMA-48, 8.3.89), cursor movements, and what is
// left of control characters: none of them can be shown.
const unshown =
  // deno-lint-ignore no-control-regex
  /\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b\[[0-9;:?]*[A-Za-ln-z]|\x1b[^[\]]|[\x00-\x08\x0b\x0c\x0e-\x1a\x1c-\x1f\x7f]/g;

export class LogText {
  readonly lines: LogLine[] = [];
  /** Bytes received: where to resume. */
  readonly end = { stdout: 0, stderr: 0 };
  /** Where the text begins; undefined until the stream's first piece. */
  readonly begin: { stdout?: number; stderr?: number } = {};
  /** Whether lines were dropped at the start. */
  isTrimmed = false;
  readonly #streams = { stdout: new Assembler("stdout"), stderr: new Assembler("stderr") };

  /** Whether the log has bytes before the first line. */
  get hasEarlier(): boolean {
    return this.isTrimmed || (this.begin.stdout ?? 0) > 0 || (this.begin.stderr ?? 0) > 0;
  }

  append(stream: Stream, offset: number, data: Uint8Array): void {
    // A resumed stream may repeat bytes.
    const known = this.begin[stream] === undefined ? 0 : Math.max(0, this.end[stream] - offset);
    if (known >= data.length) return;
    this.begin[stream] ??= offset;
    this.end[stream] = offset + data.length;
    this.#streams[stream].append(data.subarray(known), this.lines);
    if (this.lines.length > mostLines * 1.25) {
      this.lines.splice(0, this.lines.length - mostLines);
      this.isTrimmed = true;
    }
  }
}

class Assembler {
  readonly #decoder = new TextDecoder();
  #open: { line: LogLine; raw: string } | undefined;
  #colours = "";

  constructor(readonly stream: Stream) {}

  append(data: Uint8Array, lines: LogLine[]): void {
    const parts = this.#decoder.decode(data, { stream: true }).split("\n");
    for (const [at, part] of parts.entries()) {
      if (at > 0) this.#close();
      for (let from = 0; from < part.length; from += longestLine) {
        if (from > 0) this.#close();
        this.#add(part.slice(from, from + longestLine), lines);
      }
      if (part === "" && at < parts.length - 1) this.#add("", lines);
    }
  }

  #add(part: string, lines: LogLine[]): void {
    if (this.#open === undefined) {
      const line = { stream: this.stream, text: "", colours: this.#colours, width: 0 };
      lines.push(line);
      this.#open = { line, raw: "" };
    }
    this.#open.raw += part;
    const { line, raw } = this.#open;
    line.text = lineText(raw).trimEnd();
    line.width = line.text.replaceAll(colour, "").length;
    if (raw.length >= longestLine) this.#close();
  }

  #close(): void {
    if (this.#open === undefined) return;
    const { line } = this.#open;
    const codes = line.text.match(colour);
    if (codes !== null) this.#colours = coloursAfter(this.#colours, codes);
    this.#open = undefined;
  }
}

/** The final state of a line on a terminal. */
export function lineText(raw: string): string {
  let text = raw.endsWith("\r") ? raw.slice(0, -1) : raw;
  // Bidirectional controls make a line look different from its content.
  text = text.replaceAll(/[\u202a-\u202e\u2066-\u2069]/g, printable);
  // A progress bar overwrites its line.
  if (text.includes("\r")) text = text.slice(text.lastIndexOf("\r") + 1);
  // deno-lint-ignore no-control-regex
  if (!/[\x00-\x1f\x7f]/.test(text)) return text;
  text = text.replaceAll(unshown, "");
  return text.includes("\t") ? expandTabs(text) : text;
}

function expandTabs(text: string): string {
  const [first, ...rest] = text.split("\t");
  let whole = first!;
  for (const part of rest) {
    const width = whole.replaceAll(colour, "").length;
    whole += " ".repeat(tabWidth - width % tabWidth) + part;
  }
  return whole;
}

/** The colours that are on after these codes; a reset ends all that came before it. */
function coloursAfter(before: string, codes: string[]): string {
  // deno-lint-ignore no-control-regex
  const reset = codes.findLastIndex((code) => /^\x1b\[0*(;0*)*m$/.test(code));
  const kept = reset < 0 ? before + codes.join("") : codes.slice(reset + 1).join("");
  // A log that never resets would carry all of its codes along.
  return kept.slice(kept.length > 200 ? kept.lastIndexOf("\x1b") : 0);
}
