/** Reads the tables of docs/architecture.md, which are the rules that the tests here hold. */
import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";

/** The folder of the project, with a slash at its end. */
export const root = fileURLToPath(new URL("../../", import.meta.url));

export const architecture = await Deno.readTextFile(`${root}docs/architecture.md`);

/** The cells of the table between `<!-- NAME: … -->` and `<!-- end of NAME -->`. */
export function tableRows(name: string): string[][] {
  const between = new RegExp(`<!-- ${name}: [^\\n]*-->\\n(.*?)<!-- end of ${name} -->`, "s");
  const lines = between.exec(architecture)?.[1]?.trim().split("\n") ?? [];
  const rows = lines.slice(2).map((line) =>
    line.split("|").slice(1, -1).map((cell) => cell.trim())
  );
  assert.ok(rows.length > 0, `docs/architecture.md has no table "${name}"`);
  return rows;
}

/** The words in backticks. */
export function quotedIn(cell: string): string[] {
  return [...cell.matchAll(/`([^`]+)`/g)].map(([, word]) => word!);
}
