import { fileURLToPath } from "node:url";

/** What `deno run` needs for `main.ts`; scripts/agent says the same, and a test compares them. */
export const sourceFlags = ["-A", "--no-prompt", "--unstable-worker-options"] as const;

export interface Command {
  /** Absolute path. */
  command: string;
  args: string[];
}

/**
 * How to start this same program again: the executable itself, or Deno with the flags and the
 * `main.ts` that this process runs from. Only the main thread may call it.
 */
export function selfCommand(): Command {
  if (Deno.build.standalone) return { command: Deno.execPath(), args: [] };
  return {
    command: Deno.execPath(),
    args: ["run", ...sourceFlags, "--config", fromRoot("deno.json"), fromRoot("main.ts")],
  };
}

function fromRoot(file: string): string {
  return fileURLToPath(new URL(`../../${file}`, import.meta.url));
}
