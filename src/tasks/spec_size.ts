import type { TaskSpec } from "./task.ts";

const known = new WeakMap<TaskSpec, number>();

/**
 * About how many bytes a spec takes in a message. Elements of an array share one spec, whose size is
 * then computed once.
 */
export function specBytes(spec: TaskSpec): number {
  let bytes = known.get(spec);
  if (bytes === undefined) {
    const texts = (record: Readonly<Record<string, string>>) => Object.entries(record).flat();
    const all = [spec.argv, spec.artifacts, texts(spec.env), texts(spec.selector)].flat();
    // Each text has a tag and a length, an entry of a map the same again. A letter takes up to 3
    // bytes; what is long is measured.
    bytes = (spec.cwd?.length ?? 0) * 3 + (spec.stdin?.length ?? 0) + 60;
    for (const text of all) bytes += 8 + textBytes(text);
    known.set(spec, bytes);
  }
  return bytes;
}

const encoder = new TextEncoder();

function textBytes(text: string): number {
  return text.length < 1_000 ? text.length * 3 : encoder.encode(text).length;
}
