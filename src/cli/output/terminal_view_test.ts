import assert from "node:assert/strict";
import { memory } from "../../../tests/support/fake_tasks.ts";
import type { Env } from "../../base/env.ts";
import { systemClock } from "../../base/clock.ts";
import { openTerminalView } from "./terminal_view.ts";

Deno.test("the screen keeps its first line, and gives the terminal back", async () => {
  const stdout = memory();
  const signal = new AbortController().signal;
  const env = { stdout, signal, clock: systemClock } as Partial<Env> as Env;
  const drawn = Promise.withResolvers<number>();
  const view = openTerminalView(env, ({ rows }) => {
    drawn.resolve(rows);
    return Array.from({ length: 100 }, (_, i) => `line ${i}\n`).join("");
  });
  const rows = await drawn.promise;
  await view.close();
  const text = stdout.text();
  // deno-lint-ignore no-control-regex
  assert.match(text, /^\x1b\[\?1049h.*\x1b\[H.*line 0\x1b\[K\n/s);
  assert(!text.includes("line 99") || rows > 99);
  // Nothing ends the last line: that would scroll the first one away.
  // deno-lint-ignore no-control-regex
  assert.match(text, /Ctrl-C ends this\x1b\[J\x1b\[\?25h\x1b\[\?1049l$/);
  const lines = text.slice(text.indexOf("line 0")).split("\n").length;
  assert(lines <= rows + 1, `${lines} lines for ${rows} rows`);
});
