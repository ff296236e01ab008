/**
 * The threads that `agent` starts, by URL: nothing imports them, and nothing else names their
 * files. Packaging points each of these at the bundle of its entry.
 */
export const entries = {
  /** Runs one command. */
  command: new URL("../cli/inside.ts", import.meta.url),
  coordinator: new URL("../roles/coordinator.ts", import.meta.url),
  worker: new URL("../roles/worker.ts", import.meta.url),
} as const;

export type EntryName = keyof typeof entries;

/** Roles have entries of their own; a role's command names it. */
export type RoleName = Exclude<EntryName, "command">;
