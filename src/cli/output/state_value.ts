import { formatBytes } from "../../base/format_bytes.ts";
import { printable } from "../../base/printable.ts";
import { shortened } from "./format.ts";

/** A value of the state in one line, or how long it is where it is no text. */
export function shownValue(entry: Record<string, unknown>): string {
  const { value, value_base64: encoded } = entry as { value?: string; value_base64?: string };
  if (value === undefined) return `(${formatBytes(Uint8Array.fromBase64(encoded!).length)})`;
  return shortened(printable(value));
}
