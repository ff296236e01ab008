import { UsageError } from "../base/errors.ts";
import { limits } from "../tasks/limits.ts";

/** Checks names before anything is sent. */
export function checkNames(namespace: string, key: string | undefined): void {
  check("namespace", namespace, limits.maxStateNamespaceLength);
  if (key !== undefined) check("key", key, limits.maxStateKeyLength);
}

function check(what: string, text: string, longest: number): void {
  if (text !== "" && text.length <= longest && !/\p{Cc}/u.test(text)) return;
  throw new UsageError(
    `The ${what} must be 1 to ${longest} characters, none of them a control character`,
  );
}
