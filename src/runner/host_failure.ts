/**
 * Errors of a host that has run out of something, by their names in errno(3): another task would fail
 * in the same way, and the same task would not on another host.
 */
const hostErrors = new Map([
  ["EIO", 5],
  ["EAGAIN", 11],
  ["ENOMEM", 12],
  ["ENFILE", 23],
  ["EMFILE", 24],
  ["ENOSPC", 28],
  ["EROFS", 30],
  ["EDQUOT", 122],
]);

/** Whether a call failed because of the host, not because of what it was called with. */
export function isHostFailure(error: unknown): boolean {
  if (!(error instanceof Error)) return false;
  const { code } = error as { code?: unknown };
  if (typeof code === "string" && hostErrors.has(code)) return true;
  // Deno gives the errors of a start no code, only the number in the text.
  const number = Number(/\(os error (\d+)\)/.exec(error.message)?.[1]);
  return [...hostErrors.values()].includes(number);
}
