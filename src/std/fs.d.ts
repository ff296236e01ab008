/** Creates the folder and its parents unless it exists. */
export function ensureDir(dir: string | URL): Promise<void>;

/** Copies a file or folder. */
export function copy(
  src: string | URL,
  dest: string | URL,
  options?: { overwrite?: boolean; preserveTimestamps?: boolean },
): Promise<void>;
