/**
 * `512 B`, `4.2 KiB`, `1.0 GiB`. Our own, because @std/fmt rounds to three digits, and shows a file of
 * 1,023 bytes as 1020 B.
 */
export function formatBytes(bytes: number): string {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let at = 0;
  let value = bytes;
  while (value >= 1024 && at < units.length - 1) {
    value /= 1024;
    at++;
  }
  return `${at === 0 ? value : value.toFixed(1)} ${units[at]}`;
}
