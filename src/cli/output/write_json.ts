import type { Output } from "../../base/env.ts";

/** Characters that are written at once. */
const partLength = 64 * 1024;

/**
 * Writes a result as one indented document. The elements of its lists go out one by one: ten thousand
 * tasks can be more than a string holds.
 */
export async function writeJson(output: Output, result: unknown): Promise<void> {
  let part = "";
  for (const piece of document(result)) {
    part += piece;
    if (part.length < partLength) continue;
    await output.write(part);
    part = "";
  }
  await output.write(part + "\n");
}

/** The text of `JSON.stringify(value, null, 2)`, in pieces. */
function* document(value: unknown): Generator<string> {
  const isObject = typeof value === "object" && value !== null && !Array.isArray(value);
  const members = isObject
    ? Object.entries(value).filter(([, member]) => member !== undefined)
    : [];
  if (members.length === 0) return yield JSON.stringify(value, null, 2);
  let before = "{\n  ";
  for (const [name, member] of members) {
    yield `${before}${JSON.stringify(name)}: `;
    yield* Array.isArray(member) ? list(member) : [indented(member, 2)];
    before = ",\n  ";
  }
  yield "\n}";
}

function* list(items: unknown[]): Generator<string> {
  let before = "[\n    ";
  for (const item of items) {
    yield before + indented(item ?? null, 4);
    before = ",\n    ";
  }
  yield items.length === 0 ? "[]" : "\n  ]";
}

/** A line break in a JSON text is always between two tokens. */
function indented(value: unknown, columns: number): string {
  return JSON.stringify(value, null, 2).replaceAll("\n", "\n" + " ".repeat(columns));
}
