/**
 * Which of two versions is the newer one, by Semantic Versioning 2.0.0, section 11. A package for this
 * one question would be larger than the answer.
 */

/** False also where one of them is not such a version: their order is unknown then. */
export function isNewer(version: string, other: string): boolean {
  const [a, b] = [partsOf(version), partsOf(other)];
  if (a === undefined || b === undefined) return false;
  const order = compare(a.release, b.release);
  if (order !== 0) return order > 0;
  // A release is newer than what came before it: 1.0.0 than 1.0.0-rc.1.
  if (a.prerelease.length === 0) return b.prerelease.length > 0;
  return b.prerelease.length > 0 && compare(a.prerelease, b.prerelease) > 0;
}

function partsOf(version: string): { release: string[]; prerelease: string[] } | undefined {
  const [, release, prerelease] =
    /^(\d+\.\d+\.\d+)(?:-([0-9a-z.-]+))?(?:\+[0-9a-z.-]+)?$/i.exec(version) ?? [];
  if (release === undefined) return undefined;
  return { release: release.split("."), prerelease: prerelease?.split(".") ?? [] };
}

/** Numbers by their value and before words, words as text; of two lists that begin alike, the longer. */
function compare(a: string[], b: string[]): number {
  for (const [at, left] of a.entries()) {
    const right = b[at];
    if (right === undefined) return 1;
    if (left === right) continue;
    const [x, y] = [numberOf(left), numberOf(right)];
    if (x !== y) return x - y;
    if (x === Infinity) return left < right ? -1 : 1;
  }
  return a.length - b.length;
}

function numberOf(part: string): number {
  return /^\d+$/.test(part) ? Number(part) : Infinity;
}
