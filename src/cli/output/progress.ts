import type { Output } from "../../base/env.ts";
import { sizeOf } from "./terminal.ts";

/** One line for each of several things in progress. */
export interface Progress {
  /** Replaces the line of `name`; shown on a terminal only. */
  doing(name: string, text: string): void;
  /** The final line of `name`. */
  done(name: string, text: string): Promise<void>;
}

/**
 * On a terminal the lines are updated in place; elsewhere, and where there are more lines than rows,
 * only final lines are written, as they come.
 */
export function progressOf(output: Output, names: string[]): Progress {
  const size = output.isTerminal ? sizeOf() : undefined;
  if (size === undefined || !output.color || names.length >= size.rows) {
    return {
      doing: () => {},
      done: (_name, text) => output.write(`${text}\n`),
    };
  }
  const lines = new Map(names.map((name) => [name, `${name}  …`]));
  const final = new Set<string>();
  let drawn = false;
  let last = Promise.resolve();
  const draw = () => {
    const up = drawn ? `\x1b[${names.length}A` : "";
    drawn = true;
    // A longer line would wrap, and the cursor would then go up too little. The last time it may.
    const fit = (line: string) => final.size === names.length ? line : cut(line, size.columns);
    const text = names.map((name) => `\x1b[2K${fit(lines.get(name)!)}\n`).join("");
    last = last.then(() => output.write(up + text));
    return last;
  };
  return {
    doing(name, text) {
      lines.set(name, `${name}  ${text} …`);
      void draw();
    },
    done(name, text) {
      lines.set(name, text);
      final.add(name);
      return draw();
    },
  };
}

function cut(text: string, columns: number): string {
  // Codes of colours take no width; final lines are short, so only plain ones are cut.
  return text.includes("\x1b") || text.length < columns ? text : `${text.slice(0, columns - 2)}…`;
}
