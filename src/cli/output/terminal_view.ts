import { anySignal } from "../../deno/any_signal.ts";
import type { Env } from "../../base/env.ts";
import { sizeOf } from "./terminal.ts";

export interface ViewSize {
  /** Undefined where the terminal does not say. */
  columns: number | undefined;
  /** Lines that the text may have, without the footer. */
  rows: number;
}

export interface TerminalView {
  /** Has it drawn again soon. */
  changed(): void;
  /** Gives the terminal back as it was. */
  close(): Promise<void>;
}

/** People do not read faster. */
const redrawMs = 200;
/** Ages are shown in seconds. */
const idleRedrawMs = 1_000;
/** What terminals have had since the VT100, where this one does not say. */
const usualRows = 24;

/**
 * Opens the alternate screen of the terminal, which shows what `render` returns: lines, each with
 * its end. It is drawn again when something changed, and each second for the ages.
 */
export function openTerminalView(env: Env, render: (size: ViewSize) => string): TerminalView {
  const stop = new AbortController();
  const signal = anySignal(env.signal, stop.signal);
  let changed = true;
  const draw = async () => {
    const size = sizeOf();
    const rows = size?.rows ?? usualRows;
    // The last line has no end, or the terminal would scroll and lose the first one.
    const foot = rows > 3 ? "\nCtrl-C ends this" : "";
    const room = foot === "" ? rows : rows - 1;
    const lines = render({ columns: size?.columns, rows: room })
      .trimEnd().split("\n").slice(0, room).join("\n");
    await env.stdout.write(`\x1b[H${(lines + foot).replaceAll("\n", "\x1b[K\n")}\x1b[J`);
  };
  const loop = async () => {
    await env.stdout.write("\x1b[?1049h\x1b[?25l");
    let drawnAt = -Infinity;
    while (!signal.aborted) {
      const now = env.clock.monotonic();
      if (changed || now - drawnAt >= idleRedrawMs) {
        changed = false;
        drawnAt = now;
        await draw();
      }
      await pause(env, redrawMs, signal);
    }
  };
  const drawing = loop();
  return {
    changed() {
      changed = true;
    },
    async close() {
      stop.abort();
      try {
        await drawing;
      } finally {
        await env.stdout.write("\x1b[?25h\x1b[?1049l");
      }
    },
  };
}

/** Ends early, and quietly, when the signal aborts. */
export async function pause(env: Env, ms: number, signal: AbortSignal): Promise<void> {
  try {
    await env.clock.sleep(ms, signal);
  } catch (error) {
    if (!signal.aborted) throw error;
  }
}
