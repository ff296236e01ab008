/**
 * Bundles the program for `deno compile`: `bundle.ts FOLDER COMMIT`. The entries share chunks, so
 * `import()` of a command stays lazy and a thread loads only what it needs. URLs of thread entries
 * are changed to the URLs of their bundles, and the commit and its day are inserted.
 */
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { pointAtBundles, threadEntries } from "./entries.ts";

const [folder, commit = "", day = ""] = Deno.args;
if (folder === undefined) throw new Error("Usage: bundle.ts FOLDER [COMMIT]");
const root = fileURLToPath(new URL("..", import.meta.url));
const entries = [...(await threadEntries(root)).keys()];

await bundle(folder, "--minify");
await checkUsing(folder);

for await (const file of filesBelow(folder)) {
  const path = join(folder, file);
  const text = await Deno.readTextFile(path);
  // A CommonJS package has no named exports once it is a chunk of its own.
  if (/^(import[^;]*;)*export default \w+\(\);?\s*$/.test(text)) {
    throw new Error(`A CommonJS package is imported by import() itself, see ${file}: "${text}"`);
  }
  const pointed = pointAtBundles(text, file, entries)
    .replaceAll("@commit-of-the-build@", (placeholder) => commit || placeholder)
    .replaceAll("@day-of-the-build@", (placeholder) => day || placeholder);
  if (pointed !== text) await Deno.writeTextFile(path, pointed);
}

async function* filesBelow(folder: string, below = ""): AsyncGenerator<string> {
  for await (const found of Deno.readDir(join(folder, below))) {
    const path = join(below, found.name);
    if (found.isDirectory) yield* filesBelow(folder, path);
    else yield path;
  }
}

async function bundle(into: string, ...options: string[]): Promise<void> {
  const { success, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["bundle", "--quiet", ...options, "--code-splitting", "--outdir", into, "main.ts"]
      .concat(entries),
    cwd: root,
    stdout: "null",
  }).output();
  if (success) return;
  await Deno.stderr.write(stderr);
  Deno.exit(1);
}

/**
 * Minifying drops a `using` whose variable is used only once, first in the next statement: it inlines
 * the value, which is then never disposed of.
 */
async function checkUsing(minified: string): Promise<void> {
  const whole = await Deno.makeTempDir();
  try {
    await bundle(whole);
    const [before, after] = [await usings(whole), await usings(minified)];
    if (before === after) return;
    throw new Error(
      `Minifying dropped ${before - after} of ${before} declarations with "using"; ` +
        "write those whose variable is used once with try and finally",
    );
  } finally {
    await Deno.remove(whole, { recursive: true });
  }
}

/** Counts variables declared with `using`; minifying joins declarations with commas. */
async function usings(folder: string): Promise<number> {
  let count = 0;
  for await (const file of filesBelow(folder)) {
    const text = await Deno.readTextFile(join(folder, file));
    for (const { index } of text.matchAll(/\busing [\w$]+\s*=/g)) {
      let depth = 0;
      for (let at = index; depth > 0 || text[at] !== ";"; at++) {
        const char = text[at]!;
        if ("([{".includes(char)) depth++;
        if (")]}".includes(char) && --depth < 0) break;
        if (char === "=" && depth === 0 && /[\w$]\s*=[^=>]/.test(text.slice(at - 2, at + 2))) {
          count++;
        }
      }
    }
  }
  return count;
}
