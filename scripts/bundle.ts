/**
 * Bundles the program for `deno compile`: `bundle.ts FOLDER COMMIT`. The entries share chunks, so
 * `import()` of a command stays lazy and a thread loads only what it needs. What names an entry by
 * its source is pointed at its bundle, and the commit is written in.
 */
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { pointAtBundles, threadEntries } from "./entries.ts";

const [folder, commit = ""] = Deno.args;
if (folder === undefined) throw new Error("bundle.ts wants the folder to write to");
const root = fileURLToPath(new URL("..", import.meta.url));
const entries = [...(await threadEntries(root)).keys()];

const bundled = await new Deno.Command(Deno.execPath(), {
  args: ["bundle", "--quiet", "--minify", "--code-splitting", "--outdir", folder, "main.ts"]
    .concat(entries),
  cwd: root,
  stdout: "null",
}).output();
if (!bundled.success) {
  await Deno.stderr.write(bundled.stderr);
  Deno.exit(1);
}

for await (const file of filesBelow(folder)) {
  const path = join(folder, file);
  const text = await Deno.readTextFile(path);
  // A package in CommonJS has no named exports once it is a chunk of its own.
  if (/^(import[^;]*;)*export default \w+\(\);?\s*$/.test(text)) {
    throw new Error(`A CommonJS package is imported by import() itself, see ${file}: "${text}"`);
  }
  const pointed = pointAtBundles(text, file, entries)
    .replaceAll("@commit-of-the-build@", (placeholder) => commit || placeholder);
  if (pointed !== text) await Deno.writeTextFile(path, pointed);
}

async function* filesBelow(folder: string, below = ""): AsyncGenerator<string> {
  for await (const found of Deno.readDir(join(folder, below))) {
    const path = join(below, found.name);
    if (found.isDirectory) yield* filesBelow(folder, path);
    else yield path;
  }
}
