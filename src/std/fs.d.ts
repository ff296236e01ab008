/**
 * Makes the folder and its parents, unless they exist.
 *
 * @throws {Error} where something else has its name.
 */
export function ensureDir(dir: string | URL): Promise<void>;
