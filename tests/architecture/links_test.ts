import assert from "node:assert/strict";
import { dirname, join, normalize } from "node:path";

const root = new URL("../../", import.meta.url);

/** README and what lies in docs/, by path. */
async function documents(): Promise<Map<string, string>> {
  const found = new Map<string, string>();
  const read = async (path: string) =>
    found.set(path, await Deno.readTextFile(new URL(path, root)));
  for await (const { name } of Deno.readDir(root)) if (name.endsWith(".md")) await read(name);
  for await (const { name } of Deno.readDir(new URL("docs/", root))) {
    if (name.endsWith(".md")) await read(`docs/${name}`);
  }
  return found;
}

/** The anchors of a document, made of its headings as code hosts do. */
function anchors(text: string): string[] {
  const prose = text.replaceAll(/^\s*```.*?^\s*```$/gms, "");
  return [...prose.matchAll(/^#+ (.+)$/gm)].map(([, heading]) =>
    heading!.toLowerCase().replaceAll(/[^\p{L}\p{N} _-]/gu, "").replaceAll(" ", "-")
  );
}

Deno.test("every link between the documents leads somewhere", async () => {
  const all = await documents();
  const broken: string[] = [];
  for (const [path, text] of all) {
    for (const [, target] of text.matchAll(/\]\(([^)\s]+)\)/g)) {
      if (/^[a-z]+:/.test(target!)) continue;
      const [file, anchor] = target!.split("#");
      const to = file === "" ? path : normalize(join(dirname(path), file!));
      const there = all.get(to);
      const isThere = there !== undefined ||
        await Deno.stat(new URL(to, root)).then(() => true, () => false);
      const hasAnchor = anchor === undefined || there === undefined ||
        anchors(there).includes(anchor);
      if (!isThere || !hasAnchor) broken.push(`${path}: ${target}`);
    }
  }
  assert.deepEqual(broken, []);
});
