import { join } from "node:path";

/** The state of the disk right before one step: what a crash at that point would leave. */
export interface CrashPoint {
  step: string;
  /** A copy of the folder. */
  folder: string;
}

/**
 * Does the work, and copies the folder before each step that changes the disk.
 *
 * @param into folder for the copies.
 */
export async function crashPoints(
  folder: string,
  into: string,
  work: (faults: { before(step: string): void }) => Promise<unknown>,
): Promise<CrashPoint[]> {
  const points: CrashPoint[] = [];
  await work({
    before(step) {
      const copy = join(into, `${points.length}`);
      copyTree(folder, copy);
      points.push({ step, folder: copy });
    },
  });
  return points;
}

/** Every file below a folder with its mode and content, without locks and temporary files. */
export function snapshot(folder: string, below = ""): Record<string, string> {
  const all: Record<string, string> = {};
  for (const { name, isDirectory } of entriesOf(join(folder, below))) {
    const path = join(below, name);
    if (name.startsWith(".")) continue;
    const { mode } = Deno.lstatSync(join(folder, path));
    const rights = ((mode ?? 0) & 0o777).toString(8);
    if (isDirectory) Object.assign(all, { [`${path}/`]: rights }, snapshot(folder, path));
    else all[path] = `${rights} ${Deno.readTextFileSync(join(folder, path))}`;
  }
  return all;
}

function copyTree(from: string, to: string): void {
  Deno.mkdirSync(to, { recursive: true });
  for (const { name, isDirectory } of entriesOf(from)) {
    if (isDirectory) copyTree(join(from, name), join(to, name));
    else Deno.copyFileSync(join(from, name), join(to, name));
  }
  const { mode } = lstatIfThere(from) ?? { mode: null };
  if (mode !== null) Deno.chmodSync(to, mode & 0o777);
}

function entriesOf(folder: string): Deno.DirEntry[] {
  if (lstatIfThere(folder) === undefined) return [];
  return [...Deno.readDirSync(folder)].toSorted((a, b) => a.name < b.name ? -1 : 1);
}

function lstatIfThere(path: string): Deno.FileInfo | undefined {
  try {
    return Deno.lstatSync(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
}
