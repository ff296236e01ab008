/**
 * The threads that `agent` starts, by URL: nothing imports them, and only this file names them.
 * Packaging points each URL at the bundle of its entry.
 */
export const entries = {
  /** Runs one command. */
  command: new URL("../cli/inside.ts", import.meta.url),
  coordinator: new URL("../roles/coordinator.ts", import.meta.url),
  worker: new URL("../roles/worker.ts", import.meta.url),
  node: new URL("../roles/node.ts", import.meta.url),
} as const;

export type EntryName = keyof typeof entries;

/** The entries of roles, named by their commands. */
export type RoleName = Exclude<EntryName, "command">;
