import { dirname, join, relative } from "node:path";

/** How a file names an entry: as one literal, so that it can be found and replaced. */
const entryPattern = /new URL\(\s*"(\.[^"]+\.ts)",\s*import\.meta\.url,?\s*\)/g;

/** The files that are started as threads by URL, each with the files that start it. */
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

/** The TypeScript files below a folder, relative to the root, without tests and declarations. */
export async function* sourceFiles(root: string, folder: string): AsyncGenerator<string> {
  for await (const found of Deno.readDir(join(root, folder))) {
    const path = join(folder, found.name);
    if (found.isDirectory) yield* sourceFiles(root, path);
    else if (/(?<!_test|\.d)\.tsx?$/.test(found.name)) yield path;
  }
}

/**
 * Replaces the URL of each entry in a bundle with the URL of that entry's bundle.
 *
 * @param file path of the bundle, relative to its root.
 */
export function pointAtBundles(text: string, file: string, entries: string[]): string {
  return text.replaceAll(entryPattern, (whole, target: string) => {
    // Chunks no longer know the folder of their source: the end of the path must match one entry.
    const tail = target.replace(/^(\.{1,2}\/)+/, "");
    const named = entries.filter((entry) => entry === tail || entry.endsWith(`/${tail}`));
    if (named.length !== 1) throw new Error(`"${target}" in ${file} names ${named.length} entries`);
    const path = relative(dirname(file), named[0]!.replace(/\.ts$/, ".js"));
    return whole.replace(target, path.startsWith(".") ? path : `./${path}`);
  });
}
