import { dirname, join, relative } from "node:path";

/** How a file names an entry: in one piece, so that it can be found and pointed elsewhere. */
const entryPattern = /new URL\(\s*"(\.[^"]+\.ts)",\s*import\.meta\.url,?\s*\)/g;

/**
 * The files, relative to the root, that are started by URL as threads and not imported, with the
 * files that start them.
 */
export async function threadEntries(root: string): Promise<Map<string, string[]>> {
  const entries = new Map<string, string[]>();
  for await (const file of sourceFiles(root, "src")) {
    const text = await Deno.readTextFile(join(root, file));
    for (const [, target] of text.matchAll(entryPattern)) {
      const entry = join(dirname(file), target!);
      entries.set(entry, [...entries.get(entry) ?? [], file]);
    }
  }
  return entries;
}

/** The TypeScript files below a folder, without tests and declarations, relative to the root. */
export async function* sourceFiles(root: string, folder: string): AsyncGenerator<string> {
  for await (const found of Deno.readDir(join(root, folder))) {
    const path = join(folder, found.name);
    if (found.isDirectory) yield* sourceFiles(root, path);
    else if (/(?<!_test|\.d)\.tsx?$/.test(found.name)) yield path;
  }
}

/**
 * Points each name of an entry in a bundle at the bundle of that entry.
 *
 * @param file where the bundle lies, relative to its root.
 */
export function pointAtBundles(text: string, file: string, entries: string[]): string {
  return text.replaceAll(entryPattern, (whole, target: string) => {
    // Chunks have lost the folder of their source: what is left of the path must name one entry.
    const tail = target.replace(/^(\.{1,2}\/)+/, "");
    const named = entries.filter((entry) => entry === tail || entry.endsWith(`/${tail}`));
    if (named.length !== 1) throw new Error(`"${target}" in ${file} names ${named.length} entries`);
    const path = relative(dirname(file), named[0]!.replace(/\.ts$/, ".js"));
    return whole.replace(target, path.startsWith(".") ? path : `./${path}`);
  });
}
